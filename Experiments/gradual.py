"""What does a network reach that is pruned more and more while it trains?

    python main.py --experiment=gradual --pruner=magnitude --target_sparsity=0.95 --ramp=cubic --data=mnist

From `--start_step` to `--end_step` (fractions of the run) the network is pruned every `--prune_every` iterations, to
a sparsity that `--ramp` says, and at the end to exactly the target; then its masks stay. `linear` and `cubic` (Zhu &
Gupta 2017) rise; `half-cycle` and `full-cycle` rise and fall (the union-mask program); `constant` prunes to the target
at once: before training with `--start_step=0 --end_step=0`, during training with both the same. What is pruned may
come back, as its weight is kept, unless `--carry_mask`.

As long as a single shot, and a little more for each pruning.
"""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from Experiments.common.pruning_during_training import RepeatedPruning, prune_while_training
from Pruners.schedules.sparsity_ramps import Ramp
from Utils.config.settings import Settings
from Utils.config.target import Target
from Utils.results.outcome import Outcome


def trained_run(settings: Settings) -> None:
    """It prunes what it trains itself."""


def run(settings: Settings, trained: Mapping[str, Tensor] | None = None, show_progress: bool = True) -> Outcome:
    """Train and prune one network; `settings` are resolved."""
    return prune_while_training(settings, RampSchedule, show_progress)


class RampSchedule:
    """Prunes a network at some steps of its training, as a ramp says."""

    def __init__(self, ongoing: RepeatedPruning) -> None:
        settings = ongoing.settings
        self.ongoing, self.own, self.target = ongoing, settings.options, settings.target
        self.ramp = make_ramp(settings)
        self.reached = 0.0

    def after_step(self, step: int, optimizer: torch.optim.Optimizer) -> None:
        """Prune, if it is time."""
        start, end = self.ramp.start, self.ramp.end
        if self.ongoing.is_dense or not start <= step <= end:
            return
        if step == end:
            self.ongoing.prune(self.target, step, self.own.carry_mask, is_final=True)
        elif (step - start) % self.own.prune_every == 0:
            sparsity = self.ramp.sparsity(step)
            if self.own.carry_mask:
                sparsity = self.reached = max(self.reached, sparsity)
            self.ongoing.prune(Target(Decimal(repr(sparsity))), step, self.own.carry_mask)

    def state(self) -> dict[str, Any]:
        """The highest sparsity so far."""
        return {"reached": self.reached}

    def restore(self, state: dict[str, Any]) -> None:
        """Remember it."""
        self.reached = state["reached"]

    def tables(self) -> dict[str, pd.DataFrame]:
        """Nothing but what is recorded of every pruning."""
        return {}


def make_ramp(settings: Settings) -> Ramp:
    """The ramp of a run, in steps."""
    own, iterations = settings.options, settings.training.iterations or 0
    start, end = round(own.start_step * iterations), round(own.end_step * iterations)
    cycle = own.ramp_cycle or max(1, (end - start) // 10)
    return Ramp(own.ramp, start, end, float(own.initial_sparsity), 1 - settings.target.density, cycle)
