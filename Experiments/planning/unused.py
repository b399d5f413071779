"""Which flags does a run make no use of, and why?"""

from Experiments.common.dense_parent import is_trained_first
from Experiments.planning import rules
from Models.registry import IMAGENET
from Pruners.registry import Criterion, parts
from Utils.config.choices import DENSE
from Utils.config.settings import Pruning, Settings

RECIPE_FIELDS = (
    "iterations", "optimizer", "lr", "lr_drops", "lr_drop_rate", "momentum", "weight_decay", "augmentation",
    "evaluate_every",
)  # fmt: skip
"""What a recipe says of training, beside the batch size."""


def unused_flags(settings: Settings, optimizer: str, schedule: str) -> dict[str, str]:
    """Each flag without effect, with the reason; `optimizer` and `schedule` are those of the recipe or of flags."""
    pruning, training = settings.pruning, settings.training
    criteria = parts(pruning.pruner)
    needs_batches = any(criterion.needs_batches for criterion in criteria)
    unused = _unused_in_pruning(pruning, criteria)
    if not settings.run.architecture.startswith(IMAGENET):
        unused["pretrained"] = f"on {settings.run.architecture}, which torchvision has no weights of"
    elif pruning.weights_from is not None:
        unused["pretrained"] = "with --weights_from"
    is_single = settings.run.experiment == "singleshot"
    if is_single and not any(criterion.needs_trained for criterion in criteria):
        unused["pre_iterations"] = f"on pruner {pruning.pruner}, which scores no trained weights"
    elif is_single and pruning.weights_from is not None:
        unused["pre_iterations"] = "with --weights_from, whose weights are scored"
    if not training.train and not (is_single and is_trained_first(pruning)):
        unused |= dict.fromkeys(
            (*RECIPE_FIELDS, "epochs", "accumulate", "lr_schedule", "lr_cycle", "warmup"), "with --train=0"
        )
        if not needs_batches and training.batchnorm == "running":
            unused["batch_size"] = "with --train=0"
        return unused | rules.unused(settings, schedule)
    if optimizer not in ("momentum", "nesterov"):
        unused["momentum"] = f"with --optimizer={optimizer}"
    if schedule != "step":
        unused |= dict.fromkeys(("lr_drops", "lr_drop_rate"), f"with --lr_schedule={schedule}")
    if schedule != "cyclic":
        unused["lr_cycle"] = f"with --lr_schedule={schedule}"
    return unused | rules.unused(settings, schedule)


def _unused_in_pruning(pruning: Pruning, criteria: list[Criterion]) -> dict[str, str]:
    unused = {}
    if pruning.shuffle:
        unused["keep_alive"] = "with --shuffle, which permutes what is kept alive"
    if pruning.prune_unit == "unit":
        unused["keep_alive"] = "with --prune_unit=unit, which leaves each layer a unit"
        once = "with --prune_unit=unit, which scores once"
        unused |= {"prune_iterations": once, "schedule": once}
    else:
        unused["compute_aware"] = "on single weights (--prune_unit=unit)"
    if not any(criterion.needs_batches for criterion in criteria):
        reason = f"on pruner {pruning.pruner}, which scores no examples"
        unused |= {"prune_examples": reason, "prune_train_mode": reason}
    if not criteria or (pruning.pruning_type == "direct" and not pruning.keep_alive):
        unused["effective_type"] = "without pruning to an effective target"
    if not criteria:
        nothing = f"on pruner {DENSE}, which prunes nothing"
        names = ("prune_iterations", "schedule", "keep_alive", "invert", "prune_unit", "compute_aware")
        unused |= dict.fromkeys(names, nothing)
        if pruning.masks_from is None:
            unused |= dict.fromkeys(("shuffle", "reinitialize"), f"{nothing}, without --masks_from")
    elif pruning.schedule != "one-shot" and max(pruning.prune_iterations or one.iterations for one in criteria) == 1:
        unused["schedule"] = f"on pruner {pruning.pruner}, which prunes in one round (--prune_iterations)"
    return unused
