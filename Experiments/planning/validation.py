"""Validation of settings: combinations that are refused, and flags that have no effect."""

from collections.abc import Mapping
from typing import Any

from Experiments.registry import EXPERIMENTS
from Models.registry import IMAGENET, architecture
from Pruners.registry import CRITERIA, QUOTAS, Criterion, parts, quota_options
from Utils.config.choices import DENSE
from Utils.config.groups import Pruning, Training
from Utils.config.settings import Settings
from Utils.errors import UserError

RECIPE_FIELDS = (
    "iterations", "optimizer", "lr", "lr_drops", "lr_drop_rate", "momentum", "weight_decay", "augmentation",
    "evaluate_every",
)  # fmt: skip
"""Training settings of a recipe, except the batch size."""

_TARGET = ("pruning_type", "target_sparsity", "target_density", "com_exp")


def check_lr_drops(training: Training, longest: int) -> None:
    """Raise `UserError` for drops of the learning rate after the end of the `longest` training, in steps."""
    late = [str(drop) for drop in training.lr_drops or () if drop >= longest]
    if late and training.train:
        raise UserError(f"--lr_drops={','.join(late)} must be less than the {longest} iterations of training")


def ignored_flags(settings: Settings, schedule: str, values: Mapping[str, Any]) -> dict[str, str]:
    """The reason for each flag without effect; the schedule of learning rates and `values` are of flags or recipe."""
    pruning, training, network = settings.pruning, settings.training, settings.run.architecture
    criteria, experiment = parts(pruning.pruner), EXPERIMENTS[settings.run.experiment]
    reasons = _ignored_in_pruning(pruning, criteria)
    if training.train or experiment.needs(settings):
        reasons |= _ignored_in_training(schedule, values)
    else:
        names = (*RECIPE_FIELDS, "weight_decay_scope", "epochs", "accumulate", "lr_schedule", "lr_cycle", "warmup")
        reasons |= dict.fromkeys(names, "with --train=0")
        if not any(criterion.needs_batches for criterion in criteria) and training.batchnorm == "running":
            reasons["batch_size"] = "with --train=0"
    if experiment.is_study:
        reasons["save_predictions"] = f"with --experiment={experiment.name}, which stores no network"
    elif not settings.run.save:
        reasons["save_predictions"] = "with --save=0"
    if not architecture(network).has_batchnorm:
        reasons["batchnorm"] = f"on {network}, which has no batch normalisation"
    if not network.startswith(IMAGENET):
        reasons["pretrained"] = f"on {network}, for which torchvision has no weights"
    elif pruning.weights_from is not None:
        reasons["pretrained"] = "with --weights_from"
    if pruning.reinitialize and all(criterion is CRITERIA["random"] for criterion in criteria):
        unread = f"with --reinitialize on pruner {pruning.pruner}, which scores no weights"
        reasons = dict.fromkeys(("pretrained", "weights_from"), unread) | reasons
    return reasons | experiment.ignored(settings, schedule)


def _ignored_in_training(schedule: str, values: Mapping[str, Any]) -> dict[str, str]:
    """The reason for each flag of training that has no effect."""
    reasons = {}
    if values["optimizer"] not in ("momentum", "nesterov"):
        reasons["momentum"] = f"with --optimizer={values['optimizer']}"
    if not values["weight_decay"]:
        reasons["weight_decay_scope"] = "with --weight_decay=0"
    if schedule != "step":
        reasons |= dict.fromkeys(("lr_drops", "lr_drop_rate"), f"with --lr_schedule={schedule}")
    if schedule != "cyclic":
        reasons["lr_cycle"] = f"with --lr_schedule={schedule}"
    return reasons


def _ignored_in_pruning(pruning: Pruning, criteria: list[Criterion]) -> dict[str, str]:
    """The reason for each pruning flag without effect."""
    taken = quota_options(pruning.pruner)
    reasons = {
        option: f"on pruner {pruning.pruner}, whose quota is not {name}"
        for name, quota in QUOTAS.items()
        for option in quota.options
        if option not in taken
    }
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
    if pruning.pruner == DENSE or (pruning.pruning_type == "direct" and not pruning.keep_alive):
        reasons["effective_type"] = "without pruning to an effective target"
    if pruning.pruner == DENSE:
        nothing = f"on pruner {DENSE}, which prunes nothing"
        names = ("prune_iterations", "schedule", "keep_alive", "invert", "prune_unit", "compute_aware", *_TARGET)
        reasons |= dict.fromkeys(names, nothing)
        if pruning.masks_from is None:
            reasons |= dict.fromkeys(("shuffle", "reinitialize"), f"{nothing}, without --masks_from")
    elif pruning.pruner in CRITERIA and CRITERIA[pruning.pruner].is_constant and not pruning.invert:
        rounds = f"on pruner {pruning.pruner}, whose order no round changes"
        reasons |= {"prune_iterations": rounds, "schedule": rounds}
    elif pruning.schedule != "one-shot" and all((pruning.prune_iterations or one.iterations) == 1 for one in criteria):
        reasons["schedule"] = f"on pruner {pruning.pruner}, which prunes in one round (--prune_iterations)"
    return reasons
