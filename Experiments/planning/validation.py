"""Validation of resolved settings: combinations that are refused, and flags that have no effect."""

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
"""What a recipe says of training, beside the batch size."""


def canonical_options(own: Any) -> Any:
    """An experiment's own settings, those that mean the same written in one way."""
    values: dict[str, Any] = {}
    if hasattr(own, "rewind") and own.rewind.isdecimal():
        values["rewind"] = str(int(own.rewind)) if int(own.rewind) else "init"
    if hasattr(own, "k_vals"):
        values["k_vals"] = tuple(dict.fromkeys(Decimal(format(k.normalize(), "f")) for k in own.k_vals))
    if hasattr(own, "ramp") and own.start_step == own.end_step:
        values["ramp"] = "constant"
    return dataclasses.replace(own, **values) if values else own


def check_validation(settings: Settings) -> None:
    """Raise `UserError` if a run is told to hold out nothing and to choose its best weights by that."""
    if (
        settings.run.experiment == "train-then-prune"
        and settings.options.keep_best
        and not settings.training.validation
    ):
        raise UserError("--validation=0 leaves nothing to choose the best weights by; add --keep_best=0")


def check(settings: Settings, iterations: int) -> None:
    """Raise `UserError` for settings that cannot go together; `iterations` are those of the run."""
    own, experiment = settings.options, settings.run.experiment
    longest = max(iterations, settings.pruning.pre_iterations or 0)
    late = [str(drop) for drop in settings.training.lr_drops or () if drop >= longest]
    if late and settings.training.train:
        raise UserError(f"--lr_drops={','.join(late)}: nothing is left to train then, after {longest} iterations")
    if experiment in ("gradual", "union-mask", "dynamic") and not settings.training.train:
        raise UserError(f"--experiment={experiment} changes masks while it trains, so --train=0 leaves nothing to do")
    if hasattr(own, "start_step"):
        end = union_end(own) if experiment == "union-mask" else own.end_step
        if own.start_step > end:
            raise UserError(f"--start_step={own.start_step} is after --end_step={end}")
    if experiment == "gradual" and float(own.initial_sparsity) > 1 - settings.target.density:
        raise UserError(f"--initial_sparsity={own.initial_sparsity} is more than the target; give less")
    if experiment == "multishot" and own.rewind.isdecimal():
        before = settings.pruning.pre_iterations
        first = iterations if before is None else before
        if int(own.rewind) > first:
            raise UserError(f"--rewind={own.rewind} is more than the {first} iterations of the first training")


def ignored_in_experiment(settings: Settings, schedule: str) -> dict[str, str]:
    """Each flag without effect, with the reason; `schedule` is that of the learning rate."""
    run, own, is_dense = settings.run, settings.options, settings.pruning.pruner == DENSE
    if run.experiment == "singleshot":
        return {}
    reason = f"with --experiment={run.experiment}"
    found = {"shuffle": f"{reason}, which goes on from its masks"}
    if run.experiment not in ("multishot", "dynamic"):
        found["reinitialize"] = f"{reason}, which prunes while it trains"
    if run.experiment != "multishot" or is_dense:
        found["pre_iterations"] = f"{reason}, which trains nothing before" if not is_dense else f"on pruner {DENSE}"
    if run.experiment == "train-then-prune":
        names = ("pruner", "pruning_type", "target_sparsity", "com_exp", "masks_from")
        return found | dict.fromkeys(names, f"{reason}, which prunes in its own two ways (--k_vals)")
    if is_dense:
        found |= dict.fromkeys(vars(own).keys() - _RATES, f"on pruner {DENSE}, which prunes nothing")
    return found | _ignored_options(own, run.experiment, schedule)


_RATES = {"arm", "cycles", "start_step", "end_step"}
"""What decides learning rates in union-mask, so that it matters to dense networks, too."""


def _ignored_options(own: Any, experiment: str, schedule: str) -> dict[str, str]:
    found: dict[str, str] = {}
    if experiment == "gradual":
        if own.ramp not in ("linear", "cubic"):
            found["initial_sparsity"] = f"with --ramp={own.ramp}"
        if own.ramp not in ("half-cycle", "full-cycle"):
            found["ramp_cycle"] = f"with --ramp={own.ramp}"
    if experiment == "dynamic":
        found |= dict.fromkeys(
            ("keep_alive", "prune_unit"), "with --experiment=dynamic, which exchanges single weights"
        )
    if experiment == "union-mask":
        if own.arm == "vanilla":
            found["cycles"] = "with --arm=vanilla"
        elif schedule != "cyclic":
            names = ("lr_schedule", "lr_drops", "lr_drop_rate", "lr_cycle")
            found |= dict.fromkeys(names, f"with --arm={own.arm}, which has cyclic learning rates of its own")
    return found


def ignored_flags(settings: Settings, optimizer: str, schedule: str) -> dict[str, str]:
    """Each flag without effect, with the reason; `optimizer` and `schedule` are those of the recipe or of flags."""
    pruning, training = settings.pruning, settings.training
    criteria = parts(pruning.pruner)
    needs_batches = any(criterion.needs_batches for criterion in criteria)
    unused = _ignored_in_pruning(pruning, criteria)
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
        return unused | ignored_in_experiment(settings, schedule)
    if optimizer not in ("momentum", "nesterov"):
        unused["momentum"] = f"with --optimizer={optimizer}"
    if schedule != "step":
        unused |= dict.fromkeys(("lr_drops", "lr_drop_rate"), f"with --lr_schedule={schedule}")
    if schedule != "cyclic":
        unused["lr_cycle"] = f"with --lr_schedule={schedule}"
    return unused | ignored_in_experiment(settings, schedule)


def _ignored_in_pruning(pruning: Pruning, criteria: list[Criterion]) -> dict[str, str]:
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
