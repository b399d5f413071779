"""Dense parents: the dense run that must be trained before another run can score its weights."""

from dataclasses import replace
from decimal import Decimal

from Pruners.registry import parts
from Utils.config.choices import DENSE
from Utils.config.settings import Pruning, Settings


def is_trained_first(pruning: Pruning) -> bool:
    """Whether a run scores the trained weights of a dense parent."""
    if pruning.weights_from is not None:
        return False  # the weights of the checkpoint count as trained
    return pruning.pre_iterations != 0 and any(criterion.scores_trained for criterion in parts(pruning.pruner))


def dense_parent(settings: Settings) -> Settings | None:
    """The dense parent of a resolved run; None if the run does not need one."""
    pruning = settings.pruning
    if not is_trained_first(pruning):
        return None
    dense = replace(Pruning(), pruner=DENSE, target_sparsity=Decimal(0))
    if pruning.masks_from is not None:
        # Masks of biases and other optional parameters fit only a network in which these are prunable.
        names = ("masks_from", "masks_key", "prune_bias", "prune_batchnorm", "prune_residual")
        dense = replace(dense, **{name: getattr(pruning, name) for name in names})
    values = vars(dense) | {"train": True}
    if pruning.pre_iterations is not None:
        values["iterations"] = pruning.pre_iterations
    return settings.with_values(**values)
