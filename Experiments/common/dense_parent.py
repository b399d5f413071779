"""Which dense network has to be trained before a run can score its weights?"""

from dataclasses import replace
from decimal import Decimal

from Pruners.registry import parts
from Utils.config.choices import DENSE
from Utils.config.settings import Pruning, Settings


def is_trained_first(pruning: Pruning) -> bool:
    """Whether a run scores the weights of a dense network that has to be trained first."""
    if pruning.weights_from is not None:
        return False  # a checkpoint's weights are the trained ones
    return pruning.pre_iterations != 0 and any(criterion.scores_trained for criterion in parts(pruning.pruner))


def trained_run(settings: Settings) -> Settings | None:
    """The dense run whose trained weights a resolved run scores, if it needs any."""
    pruning = settings.pruning
    if not is_trained_first(pruning):
        return None
    dense = replace(Pruning(), pruner=DENSE, target_sparsity=Decimal(0))
    if pruning.masks_from is not None:
        # Masks of biases and the like fit only a network that has them.
        names = ("masks_from", "masks_key", "prune_bias", "prune_batchnorm", "prune_residual")
        dense = replace(dense, **{name: getattr(pruning, name) for name in names})
    values = vars(dense) | {"train": True}
    if pruning.pre_iterations is not None:
        values["iterations"] = pruning.pre_iterations
    return settings.with_values(**values)
