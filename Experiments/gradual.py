"""Gradual pruning: the accuracy of a network whose sparsity changes while it trains.

    python main.py --experiment=gradual --pruner=magnitude --target_sparsity=0.95 --ramp=cubic --data=mnist

From `--start_step` to `--end_step` (fractions of the run) the network is pruned every `--prune_every` iterations to the
sparsity of `--ramp`, and at the end to exactly the target; then its masks are constant. `linear` and `cubic` (Zhu &
Gupta 2017) rise; `half-cycle` and `full-cycle` rise and fall (the union-mask program); `constant` prunes to the target
at once: before training with `--start_step=0 --end_step=0`, during training with any other equal values. Pruned weights
keep their values and may return, unless `--carry_mask` is given.

Takes as long as a single shot, plus a little for each pruning.
"""

from collections.abc import Collection
from dataclasses import dataclass
from decimal import Decimal

from Experiments.while_training import WhileTraining, check_steps
from Utils.config.fields import AT_LEAST_ONE, FRACTION, RUN_FRACTION, setting
from Utils.config.settings import Settings
from Utils.errors import UserError

RAMPS = ("linear", "cubic", "half-cycle", "full-cycle", "constant")


@dataclass(frozen=True)
class GradualOptions:
    """Gradual pruning during training (`--experiment=gradual`)."""

    start_step: float = setting(0.0, "when pruning starts, as a fraction of the run", kind=float, check=RUN_FRACTION)
    prune_every: int = setting(100, "iterations from one pruning to the next", kind=int, check=AT_LEAST_ONE)
    ramp: str = setting("cubic", "how sparsity changes from start to end", choices=RAMPS)
    initial_sparsity: Decimal = setting(
        Decimal(0), "sparsity at the start of linear and cubic ramps", kind=Decimal, check=FRACTION
    )
    end_step: float = setting(
        0.5, "when the target is reached, as a fraction of the run", kind=float, check=RUN_FRACTION
    )
    ramp_cycle: int | None = setting(
        None, "iterations of a cycle of half-cycle and full-cycle (default: a tenth of the ramp)", kind=int,
        check=AT_LEAST_ONE,
    )  # fmt: skip
    carry_mask: bool = setting(False, "pruned weights stay pruned", kind=bool)


class Gradual(WhileTraining):
    """Prune more and more while training."""

    name = "gradual"
    about = "prune more and more while training"
    implementation = "Experiments.runs.gradual:run"
    Options = GradualOptions

    def resolve(self, settings: Settings, given: Collection[str] = ()) -> Settings:
        """A ramp of no length is constant."""
        settings = super().resolve(settings, given)
        options = settings.options
        if options.start_step != options.end_step:
            return settings
        if "ramp" in given and options.ramp != "constant":
            raise UserError(f"--ramp={options.ramp} needs --start_step before --end_step, not both {options.end_step}")
        return settings.with_values(ramp="constant")

    def check(self, settings: Settings) -> None:
        """A ramp rises from its start to its end."""
        super().check(settings)
        options = settings.options
        check_steps(options.start_step, options.end_step)
        if float(options.initial_sparsity) > 1 - settings.target.density:
            raise UserError(f"--initial_sparsity={options.initial_sparsity} is more than the target; give less")

    def ignored(self, settings: Settings, lr_schedule: str) -> dict[str, str]:
        """Some options belong to some ramps."""
        reasons, ramp = super().ignored(settings, lr_schedule), settings.options.ramp
        if ramp not in ("linear", "cubic"):
            reasons["initial_sparsity"] = f"with --ramp={ramp}"
        if ramp not in ("half-cycle", "full-cycle"):
            reasons["ramp_cycle"] = f"with --ramp={ramp}"
        if settings.options.start_step == settings.options.end_step:
            once = "with --start_step equal to --end_step, which prune once"
            reasons |= {"prune_every": once, "carry_mask": once}
        return reasons
