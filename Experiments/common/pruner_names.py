"""Properties of pruners by name: which are equal in an experiment, and whose order depends on the target.

`mag` of trained weights is `magnitude`. Loads no PyTorch.
"""

from Pruners.registry import canonical_name, parts, split_name
from Utils.config.choices import DENSE
from Utils.config.groups import Pruning


def renamed(pruner: str, names: dict[str, str]) -> str:
    """The canonical name of a pruner whose criterion and quota are renamed; `dense` stays."""
    if pruner == DENSE:
        return pruner
    return canonical_name("/".join(names.get(part, part) for part in split_name(pruner)))


def of_current_weights(pruner: str) -> str:
    """The name of a pruner that scores the current, trained weights, as every pruning during training does."""
    return renamed(pruner, {"mag": "magnitude"})


def depends_on_target(pruning: Pruning) -> bool:
    """Whether a pruner scores in several rounds, so that the order of its scores differs between targets."""
    rounds = 1 if pruning.schedule == "one-shot" else pruning.prune_iterations
    return any((rounds or criterion.iterations) > 1 for criterion in parts(pruning.pruner))
