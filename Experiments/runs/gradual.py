"""Gradual pruning: a schedule that prunes along a sparsity ramp while a network trains."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from Experiments.common.pruning_during_training import RepeatedPruning, prune_while_training
from Experiments.common.trial import Trial
from Pruners.schedules.sparsity_ramps import Ramp
from Utils.config.settings import Settings
from Utils.config.target import Target
from Utils.results.artifacts import Artifact
from Utils.results.outcome import Outcome
from Utils.training.context import RunContext
from Utils.training.state import TrainingState


def run(settings: Settings, inputs: Mapping[str, Artifact], context: RunContext) -> Outcome:
    """Train and prune one network."""
    return prune_while_training(RampSchedule(Trial(settings, context)))


class RampSchedule(RepeatedPruning):
    """Schedule that prunes a network along a sparsity ramp while it trains."""

    def __init__(self, trial: Trial) -> None:
        super().__init__(trial)
        self.target, self.ramp = trial.settings.target, make_ramp(trial.settings)
        self.reached = 0.0

    def change_masks(self, training: TrainingState) -> None:
        """Prune if a pruning is due."""
        step, start, end = training.step, self.ramp.start, self.ramp.end
        if not start <= step <= end:
            return
        if step == end:
            self.prune(self.target, step, self.options.carry_mask, is_final=True)
        elif (step - start) % self.options.prune_every == 0:
            sparsity = self.ramp.sparsity(step)
            if self.options.carry_mask:
                sparsity = self.reached = max(self.reached, sparsity)
            self.prune(Target(Decimal(repr(sparsity))), step, self.options.carry_mask)

    def state(self) -> dict[str, Any]:
        """Also the highest sparsity so far."""
        return super().state() | {"reached": self.reached}

    def load(self, state: Mapping[str, Any]) -> None:
        """Restore a result of `state`."""
        super().load(state)
        self.reached = state["reached"]


def make_ramp(settings: Settings) -> Ramp:
    """The sparsity ramp of a run, in steps."""
    options, iterations = settings.options, settings.recipe.iterations
    start, end = round(options.start_step * iterations), round(options.end_step * iterations)
    cycle = options.ramp_cycle or max(1, (end - start) // 10)
    return Ramp(options.ramp, start, end, float(options.initial_sparsity), 1 - settings.target.density, cycle)
