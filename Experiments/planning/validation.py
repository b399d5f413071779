"""Validation of settings: combinations that are refused, and flags that have no effect."""

from Experiments.registry import EXPERIMENTS
from Models.registry import IMAGENET
from Pruners.registry import Criterion, parts
from Utils.config.choices import DENSE
from Utils.config.settings import Pruning, Settings, Training
from Utils.errors import UserError

RECIPE_FIELDS = (
    "iterations", "optimizer", "lr", "lr_drops", "lr_drop_rate", "momentum", "weight_decay", "augmentation",
    "evaluate_every",
)  # fmt: skip
"""Training settings of a recipe, except the batch size."""


def check_lr_drops(training: Training, longest: int) -> None:
    """Raise `UserError` for drops of the learning rate after the end of the `longest` training, in steps."""
    late = [str(drop) for drop in training.lr_drops or () if drop >= longest]
    if late and training.train:
        raise UserError(f"--lr_drops={','.join(late)} must be less than the {longest} iterations of training")


def ignored_flags(settings: Settings, optimizer: str, schedule: str) -> dict[str, str]:
    """The reason for each flag without effect; `optimizer` and `schedule` come from the flags or the recipe."""
    pruning, training = settings.pruning, settings.training
    criteria = parts(pruning.pruner)
    needs_batches = any(criterion.needs_batches for criterion in criteria)
    reasons = _ignored_in_pruning(pruning, criteria)
    if not settings.run.architecture.startswith(IMAGENET):
        reasons["pretrained"] = f"on {settings.run.architecture}, for which torchvision has no weights"
    elif pruning.weights_from is not None:
        reasons["pretrained"] = "with --weights_from"
    experiment = EXPERIMENTS[settings.run.experiment]
    if not training.train and not experiment.needs(settings):
        reasons |= dict.fromkeys(
            (*RECIPE_FIELDS, "epochs", "accumulate", "lr_schedule", "lr_cycle", "warmup"), "with --train=0"
        )
        if not needs_batches and training.batchnorm == "running":
            reasons["batch_size"] = "with --train=0"
        return reasons | experiment.ignored(settings, schedule)
    if optimizer not in ("momentum", "nesterov"):
        reasons["momentum"] = f"with --optimizer={optimizer}"
    if schedule != "step":
        reasons |= dict.fromkeys(("lr_drops", "lr_drop_rate"), f"with --lr_schedule={schedule}")
    if schedule != "cyclic":
        reasons["lr_cycle"] = f"with --lr_schedule={schedule}"
    return reasons | experiment.ignored(settings, schedule)


def _ignored_in_pruning(pruning: Pruning, criteria: list[Criterion]) -> dict[str, str]:
    """The reason for each pruning flag without effect."""
    reasons = {}
    if pruning.shuffle:
        reasons["keep_alive"] = "with --shuffle, which permutes the masks afterwards"
    if pruning.prune_unit == "unit":
        reasons["keep_alive"] = "with --prune_unit=unit, which keeps a unit in each layer"
        once = "with --prune_unit=unit, which scores once"
        reasons |= {"prune_iterations": once, "schedule": once}
    else:
        reasons["compute_aware"] = "on single weights (--prune_unit=unit)"
    if not any(criterion.needs_batches for criterion in criteria):
        no_examples = f"on pruner {pruning.pruner}, which scores no examples"
        reasons |= {"prune_examples": no_examples, "prune_train_mode": no_examples}
    if not criteria or (pruning.pruning_type == "direct" and not pruning.keep_alive):
        reasons["effective_type"] = "without pruning to an effective target"
    if not criteria:
        nothing = f"on pruner {DENSE}, which prunes nothing"
        names = ("prune_iterations", "schedule", "keep_alive", "invert", "prune_unit", "compute_aware")
        reasons |= dict.fromkeys(names, nothing)
        if pruning.masks_from is None:
            reasons |= dict.fromkeys(("shuffle", "reinitialize"), f"{nothing}, without --masks_from")
    elif pruning.schedule != "one-shot" and max(pruning.prune_iterations or one.iterations for one in criteria) == 1:
        reasons["schedule"] = f"on pruner {pruning.pruner}, which prunes in one round (--prune_iterations)"
    return reasons
