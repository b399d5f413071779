"""Gradual pruning: the accuracy of a network whose sparsity changes while it trains.

    python main.py --experiment=gradual --pruner=magnitude --target_sparsity=0.95 --ramp=cubic --data=mnist

From `--start_step` to `--end_step` (fractions of the run) the network is pruned every `--prune_every` iterations to the
sparsity of `--ramp`, and at the end to exactly the target; then its masks are constant. `linear` and `cubic` (Zhu &
Gupta 2017) rise; `half-cycle` and `full-cycle` rise and fall (the union-mask program); `constant` prunes to the target
at once: before training with `--start_step=0 --end_step=0`, during training with any other equal values. Pruned weights
keep their values and may return, unless `--carry_mask` is given.

Takes as long as a single shot, plus a little for each pruning.
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
    """None: the experiment prunes the network that it trains."""


def run(settings: Settings, trained: Mapping[str, Tensor] | None = None) -> Outcome:
    """Train and prune one network; `settings` are resolved."""
    return prune_while_training(settings, RampSchedule)


class RampSchedule:
    """Schedule that prunes a network along a sparsity ramp while it trains."""

    def __init__(self, pruning: RepeatedPruning) -> None:
        settings = pruning.settings
        self.pruning, self.options, self.target = pruning, settings.options, settings.target
        self.ramp = make_ramp(settings)
        self.reached = 0.0

    def after_step(self, step: int, optimizer: torch.optim.Optimizer) -> None:
        """Prune if a pruning is due after `step` steps."""
        start, end = self.ramp.start, self.ramp.end
        if self.pruning.is_dense or not start <= step <= end:
            return
        if step == end:
            self.pruning.prune(self.target, step, self.options.carry_mask, is_final=True)
        elif (step - start) % self.options.prune_every == 0:
            sparsity = self.ramp.sparsity(step)
            if self.options.carry_mask:
                sparsity = self.reached = max(self.reached, sparsity)
            self.pruning.prune(Target(Decimal(repr(sparsity))), step, self.options.carry_mask)

    def state(self) -> dict[str, Any]:
        """The highest sparsity so far."""
        return {"reached": self.reached}

    def restore(self, state: dict[str, Any]) -> None:
        """Restore a result of `state`."""
        self.reached = state["reached"]

    def tables(self) -> dict[str, pd.DataFrame]:
        """No tables beyond the record of prunings."""
        return {}


def make_ramp(settings: Settings) -> Ramp:
    """The sparsity ramp of a run, in steps."""
    options, iterations = settings.options, settings.training.iterations or 0
    start, end = round(options.start_step * iterations), round(options.end_step * iterations)
    cycle = options.ramp_cycle or max(1, (end - start) // 10)
    return Ramp(options.ramp, start, end, float(options.initial_sparsity), 1 - settings.target.density, cycle)
