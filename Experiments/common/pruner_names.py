"""Names of pruners that are equal in an experiment: `mag` of trained weights is `magnitude`. Loads no PyTorch."""

from Pruners.registry import canonical_name, split_name
from Utils.config.choices import DENSE


def renamed(pruner: str, names: dict[str, str]) -> str:
    """The canonical name of a pruner whose criterion and quota are renamed; `dense` stays."""
    if pruner == DENSE:
        return pruner
    return canonical_name("/".join(names.get(part, part) for part in split_name(pruner)))


def of_current_weights(pruner: str) -> str:
    """The name of a pruner that scores the current, trained weights, as every pruning during training does."""
    return renamed(pruner, {"mag": "magnitude"})
