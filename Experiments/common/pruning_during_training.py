"""Pruning during training: a schedule decides when, and each pruning is recorded."""

import time
from collections.abc import Mapping
from functools import cached_property
from typing import Any

import pandas as pd

from Experiments.common.trial import Trial
from Layers import Masks
from Layers.forms.dynamic import Dynamic
from Utils import randomness
from Utils.config.resolved import Recipe
from Utils.config.target import Target
from Utils.errors import UserError
from Utils.results.outcome import Outcome
from Utils.sparsity.measure import MacCounter
from Utils.training.callbacks import Callback
from Utils.training.state import TrainingState


class RepeatedPruning(Callback):
    """Prunes a network repeatedly, each time by its current weights, and records each pruning.

    A schedule is a subclass, whose `change_masks` decides when to prune.
    """

    def __init__(self, trial: Trial) -> None:
        self.trial, self.options = trial, trial.settings.options
        self.rows: list[dict[str, Any]] = []
        """One row for the initial masks and each pruning: iteration, kept weights, multiply-adds, and overlap with the
        previous masks."""
        self.base = Masks.of(trial.model)
        """Initial masks: entries that they prune never return."""
        self.generator = randomness.generator(trial.settings.run.sample, "random scores")

    def after_step(self, training: TrainingState) -> None:
        """Change masks if the schedule says so; record the initial ones."""
        if self.trial.pruner.is_dense:
            return
        self.change_masks(training)
        if training.step == 0 and not self.rows:
            self.record(0, Masks.of(self.trial.model))

    def change_masks(self, training: TrainingState) -> None:
        """Change masks if a change is due after this step."""

    def state(self) -> dict[str, Any]:
        """The record, the seconds of pruning, and the state of random scores."""
        return {"rows": self.rows, "seconds": self.trial.prune_seconds, "generator": self.generator.get_state()}

    def load(self, state: Mapping[str, Any]) -> None:
        """Restore a result of `state`."""
        self.rows, self.trial.prune_seconds = state["rows"], state["seconds"]
        self.generator.set_state(state["generator"])

    def tables(self) -> dict[str, pd.DataFrame]:
        """Tables of the run: the record of prunings, if there are any."""
        columns = ["iteration", "kept_direct", "direct_sparsity", "direct_macs", "overlap"]
        return {} if self.trial.pruner.is_dense else {"sparsity": pd.DataFrame(self.rows, columns=columns)}

    def check_target(self) -> None:
        """Raise `UserError` before training if the target cannot be reached."""
        if not self.trial.pruner.is_dense:
            self.masks(self.trial.settings.target)

    def masks(self, target: Target) -> Masks:
        """Masks that reach a target by the current weights, within the current masks; the network is not changed."""
        pruner, model = self.trial.pruner, self.trial.model

        def find() -> Masks:
            return pruner.masks(model, pruner.scores(model, target, self.generator), target).to("cpu")

        return self.trial.context.agree(find)

    def prune(self, target: Target, iteration: int, is_carried: bool, is_final: bool = False) -> None:
        """Prune to a target, and record it.

        Previously pruned weights may return unless `is_carried`. An unreachable target raises `UserError` if it
        `is_final`; otherwise nothing more is pruned.
        """
        started, before = time.perf_counter(), Masks.of(self.trial.model)
        if not is_carried:
            self.base.install(self.trial.model)
        try:
            self.masks(target).install(self.trial.model)
        except UserError:
            # An early target can be lower than the share of ineffective weights in the unpruned network.
            if is_final:
                raise
        self.trial.prune_seconds += time.perf_counter() - started
        self.record(iteration, before)

    def replace_masks(self, masks: Masks, iteration: int) -> None:
        """Install masks in the network, and record them."""
        before = Masks.of(self.trial.model)
        masks.install(self.trial.model)
        self.record(iteration, before)

    def record(self, iteration: int, before: Masks) -> None:
        """Append a row about the current masks; `before` are the previous masks."""
        masks = Masks.of(self.trial.model)
        row = {"iteration": iteration, "kept_direct": masks.kept, "direct_sparsity": 1 - masks.kept / masks.total}
        self.rows.append({**row, "direct_macs": self.macs.count(masks), "overlap": masks.overlap(before)})

    @cached_property
    def macs(self) -> MacCounter:
        """Counts the multiply-adds of masks."""
        return MacCounter.of(self.trial.model, self.trial.data.input_shape)


def prune_while_training(
    schedule: RepeatedPruning, recipe: Recipe | None = None, columns: Mapping[str, Any] | None = None
) -> Outcome:
    """Train the network of a schedule's trial, and prune it by the schedule.

    `recipe` replaces the recipe of the run. `columns` are summary columns of the experiment, with values.
    """
    trial = schedule.trial
    schedule.check_target()
    history = trial.train(schedule, form=Dynamic(), recipe=recipe or trial.settings.recipe)
    return trial.outcome(trial.measure(), history, columns, schedule.tables())
