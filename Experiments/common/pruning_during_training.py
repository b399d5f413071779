"""Pruning during training: a schedule decides when, and each pruning is recorded."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

import pandas as pd
import torch

from Experiments.common.trial import Trial
from Layers import Masks
from Utils import randomness
from Utils.config.resolved import Recipe
from Utils.config.target import Target
from Utils.errors import UserError
from Utils.results.outcome import Outcome
from Utils.training.hooks import Hooks


class Stateful(Protocol):
    """Schedule that changes a network at some steps of its training, and resumes from its saved state."""

    def after_step(self, step: int, optimizer: torch.optim.Optimizer) -> None:
        """Change the network if a change is due after `step` steps."""
        ...

    def state(self) -> dict[str, Any]:
        """State of the schedule, in tensors and plain values."""
        ...

    def restore(self, state: dict[str, Any]) -> None:
        """Restore a result of `state`."""
        ...


class Timetable(Stateful, Protocol):
    """Schedule that prunes a network at some steps of its training."""

    def tables(self) -> dict[str, pd.DataFrame]:
        """Tables of the schedule, in addition to the record of prunings."""
        ...


def prune_while_training(
    trial: Trial,
    timetable: Callable[["RepeatedPruning"], Timetable],
    recipe: Recipe | None = None,
    columns: dict[str, Any] | None = None,
) -> Outcome:
    """Train one network and prune it by a schedule.

    `timetable` makes the schedule. `recipe` replaces the recipe of the run. `columns` are summary columns of the
    experiment, with values.
    """
    pruning = RepeatedPruning(trial)
    pruning.check_target()
    schedule = timetable(pruning)
    history = trial.train(pruning.hooks(schedule), recipe=recipe or trial.settings.recipe)
    tables = {} if trial.pruner.is_dense else {"sparsity": pruning.table(), **schedule.tables()}
    return trial.outcome(trial.measure(), history, columns, tables)


@dataclass
class RepeatedPruning:
    """Prunes a network repeatedly, each time by its current weights, and records each pruning."""

    trial: Trial
    rows: list[dict[str, Any]] = field(default_factory=list)
    """One row for each pruning: iteration, kept weights, and overlap with the previous masks."""

    def __post_init__(self) -> None:
        self.base = Masks.of(self.trial.model)
        """Initial masks: entries that they prune never return."""
        self.generator = randomness.generator(self.trial.settings.run.sample, "random scores")

    def hooks(self, schedule: Stateful) -> Hooks:
        """Hooks of a training in which a schedule decides when to prune."""

        def restore(state: dict[str, Any]) -> None:
            self.rows, self.trial.prune_seconds = state["rows"], state["seconds"]
            self.generator.set_state(state["generator"])
            schedule.restore(state["times"])

        def state() -> dict[str, Any]:
            record = {"rows": self.rows, "seconds": self.trial.prune_seconds, "generator": self.generator.get_state()}
            return record | {"times": schedule.state()}

        return Hooks(schedule.after_step, state=state, restore=restore)

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
        self.rows.append({**row, "overlap": masks.overlap(before)})

    def table(self) -> pd.DataFrame:
        """Rows of all prunings."""
        return pd.DataFrame(self.rows, columns=["iteration", "kept_direct", "direct_sparsity", "overlap"])
