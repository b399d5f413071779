"""Which settings of the experiments that prune more than once go together, and which have no effect?"""

import dataclasses
from decimal import Decimal
from typing import Any

from Experiments.options import union_end
from Utils.config.choices import DENSE
from Utils.config.settings import Settings
from Utils.errors import UserError


def one_spelling(own: Any) -> Any:
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
    if settings.run.experiment == "train-then-prune" and settings.own.keep_best and not settings.training.validation:
        raise UserError("--validation=0 leaves nothing to choose the best weights by; add --keep_best=0")


def check(settings: Settings, iterations: int) -> None:
    """Raise `UserError` for settings that cannot go together; `iterations` are those of the run."""
    own, experiment = settings.own, settings.run.experiment
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


def unused(settings: Settings, schedule: str) -> dict[str, str]:
    """Each flag without effect, with the reason; `schedule` is that of the learning rate."""
    run, own, is_dense = settings.run, settings.own, settings.pruning.pruner == DENSE
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
    return found | _unused_options(own, run.experiment, schedule)


_RATES = {"arm", "cycles", "start_step", "end_step"}
"""What decides learning rates in union-mask, so that it matters to dense networks, too."""


def _unused_options(own: Any, experiment: str, schedule: str) -> dict[str, str]:
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
