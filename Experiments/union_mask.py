"""Union of masks: several cycles of pruning with united masks, against a single cycle of pruning.

    python main.py --experiment=union-mask --arm union vanilla vanilla-cyclic --target_sparsity 0.9 0.98 --sample 0 1 2

The method of the union-mask program: while the network trains with cyclic learning rates, each cycle prunes it from
dense to the target; the mask of the cycle joins the union, and all weights return. Before the last cycle the union
becomes the mask, which the last cycle prunes linearly to the target. Two baselines prune linearly once:
`--arm=vanilla` with the learning rates of the recipe, as the program does; `--arm=vanilla-cyclic` with the learning
rates and the steps of the method, so that only the union differs. All arms have the same number of iterations, initial
weights and data order.

Takes as long as a single shot, plus a little for each pruning.
"""

from dataclasses import dataclass

from Experiments.while_training import WhileTraining, check_steps
from Utils.config.choices import DENSE
from Utils.config.fields import AT_LEAST_ONE, RUN_FRACTION, Check, setting
from Utils.config.settings import Settings
from Utils.errors import UserError

ARMS = ("union", "vanilla", "vanilla-cyclic")

_TWO: Check = (lambda value: value >= 2, "at least 2: one whose mask joins the union, and the last one")


@dataclass(frozen=True)
class UnionMaskOptions:
    """Union of the masks of several cycles of pruning (`--experiment=union-mask`)."""

    start_step: float = setting(0.0, "when pruning starts, as a fraction of the run", kind=float, check=RUN_FRACTION)
    prune_every: int = setting(100, "iterations from one pruning to the next", kind=int, check=AT_LEAST_ONE)
    arm: str = setting(
        "union", "the method (union), or a baseline: one linear ramp with the learning rates of the recipe (vanilla) "
        "or of the method (vanilla-cyclic)", choices=ARMS, many=True,
    )  # fmt: skip
    cycles: int = setting(10, "cycles of pruning; the last prunes the union of the other masks", kind=int, check=_TWO)
    end_step: float | None = setting(
        None, "when the target is reached, as a fraction of the run (default: 0.95; vanilla: 0.5)", kind=float,
        check=RUN_FRACTION,
    )  # fmt: skip

    @property
    def end(self) -> float:
        """The end of pruning, as a fraction of the run: `--end_step`, by default the published value of the arm."""
        if self.end_step is not None:
            return self.end_step
        return 0.5 if self.arm == "vanilla" else 0.95

    def span(self, iterations: int) -> tuple[int, int]:
        """First and last step of pruning in a training of so many steps."""
        return round(self.start_step * iterations), round(self.end * iterations)


class UnionMask(WhileTraining):
    """Unite the masks of several cycles of pruning while training."""

    name = "union-mask"
    about = "unite the masks of several cycles of pruning while training"
    implementation = "Experiments.runs.union_mask:run"
    Options = UnionMaskOptions
    revision = 1

    def has_cyclic_rates(self, settings: Settings) -> bool:
        """The method has, and the baseline that differs by the union alone."""
        return settings.options.arm != "vanilla"

    def check(self, settings: Settings) -> None:
        """Pruning ends after its start, and each cycle has a step."""
        super().check(settings)
        options = settings.options
        check_steps(options.start_step, options.end)
        first, last = options.span(settings.training.iterations or 0)
        if options.arm != "vanilla" and settings.pruning.pruner != DENSE and options.cycles > last - first:
            raise UserError(f"--cycles={options.cycles} is more than the {last - first} steps in which it prunes")

    def options_of_dense(self, settings: Settings, lr_schedule: str) -> frozenset[str]:
        """What sets the learning rates, in arms that have their own."""
        if lr_schedule == "cyclic":
            return frozenset()
        if not self.has_cyclic_rates(settings):
            return frozenset({"arm"})
        return frozenset({"experiment", "arm", "cycles", "start_step", "end_step"})

    def ignored(self, settings: Settings, lr_schedule: str) -> dict[str, str]:
        """One arm has no cycles; the others have learning rates of their own."""
        reasons, arm = super().ignored(settings, lr_schedule), settings.options.arm
        if arm == "vanilla":
            reasons["cycles"] = "with --arm=vanilla"
        elif lr_schedule != "cyclic":
            names = ("lr_schedule", "lr_drops", "lr_drop_rate", "lr_cycle")
            reasons |= dict.fromkeys(names, f"with --arm={arm}, which has cyclic learning rates of its own")
        return reasons
