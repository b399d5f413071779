"""Validation of settings: combinations that are refused, and flags that have no effect."""

import dataclasses
from decimal import Decimal
from typing import Any

from Experiments.common.dense_parent import is_trained_first
from Experiments.options import union_end
from Models.registry import IMAGENET
from Pruners.registry import Criterion, parts
from Utils.config.choices import DENSE
from Utils.config.settings import Pruning, Settings
from Utils.errors import UserError

RECIPE_FIELDS = (
    "iterations", "optimizer", "lr", "lr_drops", "lr_drop_rate", "momentum", "weight_decay", "augmentation",
    "evaluate_every",
)  # fmt: skip
"""Training settings of a recipe, except the batch size."""


def canonical_options(options: Any) -> Any:
    """Options of an experiment in canonical spelling."""
    values: dict[str, Any] = {}
    if hasattr(options, "rewind") and options.rewind.isdecimal():
        values["rewind"] = str(int(options.rewind)) if int(options.rewind) else "init"
    if hasattr(options, "k_vals"):
        values["k_vals"] = tuple(dict.fromkeys(Decimal(format(k.normalize(), "f")) for k in options.k_vals))
    if hasattr(options, "ramp") and options.start_step == options.end_step:
        values["ramp"] = "constant"
    return dataclasses.replace(options, **values) if values else options


def check_validation(settings: Settings) -> None:
    """Raise `UserError` if a run must choose its best weights by a validation set of no images."""
    if (
        settings.run.experiment == "train-then-prune"
        and settings.options.keep_best
        and not settings.training.validation
    ):
        raise UserError("--validation=0 leaves no images to choose the best weights by; add --keep_best=0")


def check(settings: Settings, iterations: int) -> None:
    """Raise `UserError` for settings that exclude each other; the run trains for `iterations` steps."""
    options, experiment = settings.options, settings.run.experiment
    longest = max(iterations, settings.pruning.pre_iterations or 0)
    late = [str(drop) for drop in settings.training.lr_drops or () if drop >= longest]
    if late and settings.training.train:
        raise UserError(f"--lr_drops={','.join(late)} must be less than the {longest} iterations of training")
    if experiment in ("gradual", "union-mask", "dynamic") and not settings.training.train:
        raise UserError(f"--experiment={experiment} changes masks during training, so it excludes --train=0")
    if hasattr(options, "start_step"):
        end = union_end(options) if experiment == "union-mask" else options.end_step
        if options.start_step > end:
            raise UserError(f"--start_step={options.start_step} is after --end_step={end}")
    if experiment == "gradual" and float(options.initial_sparsity) > 1 - settings.target.density:
        raise UserError(f"--initial_sparsity={options.initial_sparsity} is more than the target; give less")
    if experiment == "multishot" and options.rewind.isdecimal():
        before = settings.pruning.pre_iterations
        first = iterations if before is None else before
        if int(options.rewind) > first:
            raise UserError(f"--rewind={options.rewind} is more than the {first} iterations of the first training")


def ignored_in_experiment(settings: Settings, schedule: str) -> dict[str, str]:
    """The reason for each flag without effect in the experiment; `schedule` is the learning-rate schedule."""
    run, options, is_dense = settings.run, settings.options, settings.pruning.pruner == DENSE
    if run.experiment == "singleshot":
        return {}
    reason = f"with --experiment={run.experiment}"
    reasons = {"shuffle": f"{reason}, which prunes its masks further"}
    if run.experiment not in ("multishot", "dynamic"):
        when = "after" if run.experiment == "train-then-prune" else "during"
        reasons["reinitialize"] = f"{reason}, which prunes {when} training"
    if run.experiment != "multishot" or is_dense:
        reasons["pre_iterations"] = f"{reason}, which trains nothing before" if not is_dense else f"on pruner {DENSE}"
    if run.experiment == "train-then-prune":
        names = ("pruner", "pruning_type", "target_sparsity", "com_exp", "masks_from")
        return reasons | dict.fromkeys(names, f"{reason}, which prunes weights and units by --k_vals")
    if is_dense:
        reasons |= dict.fromkeys(vars(options).keys() - _RATE_OPTIONS, f"on pruner {DENSE}, which prunes nothing")
    return reasons | _ignored_options(options, run.experiment, schedule)


_RATE_OPTIONS = {"arm", "cycles", "start_step", "end_step"}
"""Options that set the learning rates of union-mask, and so have an effect on dense networks, too."""


def _ignored_options(options: Any, experiment: str, schedule: str) -> dict[str, str]:
    """The reason for each option without effect in its experiment."""
    reasons: dict[str, str] = {}
    if experiment == "gradual":
        if options.ramp not in ("linear", "cubic"):
            reasons["initial_sparsity"] = f"with --ramp={options.ramp}"
        if options.ramp not in ("half-cycle", "full-cycle"):
            reasons["ramp_cycle"] = f"with --ramp={options.ramp}"
    if experiment == "dynamic":
        reasons |= dict.fromkeys(
            ("keep_alive", "prune_unit"), "with --experiment=dynamic, which exchanges single weights"
        )
    if experiment == "union-mask":
        if options.arm == "vanilla":
            reasons["cycles"] = "with --arm=vanilla"
        elif schedule != "cyclic":
            names = ("lr_schedule", "lr_drops", "lr_drop_rate", "lr_cycle")
            reasons |= dict.fromkeys(names, f"with --arm={options.arm}, which has cyclic learning rates of its own")
    return reasons


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
    is_single = settings.run.experiment == "singleshot"
    if is_single and not any(criterion.needs_trained for criterion in criteria):
        reasons["pre_iterations"] = f"on pruner {pruning.pruner}, which scores no trained weights"
    elif is_single and pruning.weights_from is not None:
        reasons["pre_iterations"] = "with --weights_from, whose weights are scored"
    if not training.train and not (is_single and is_trained_first(pruning)):
        reasons |= dict.fromkeys(
            (*RECIPE_FIELDS, "epochs", "accumulate", "lr_schedule", "lr_cycle", "warmup"), "with --train=0"
        )
        if not needs_batches and training.batchnorm == "running":
            reasons["batch_size"] = "with --train=0"
        return reasons | ignored_in_experiment(settings, schedule)
    if optimizer not in ("momentum", "nesterov"):
        reasons["momentum"] = f"with --optimizer={optimizer}"
    if schedule != "step":
        reasons |= dict.fromkeys(("lr_drops", "lr_drop_rate"), f"with --lr_schedule={schedule}")
    if schedule != "cyclic":
        reasons["lr_cycle"] = f"with --lr_schedule={schedule}"
    return reasons | ignored_in_experiment(settings, schedule)


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
