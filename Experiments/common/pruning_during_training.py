"""Pruning during training: a schedule decides when, and each pruning is recorded."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

import pandas as pd
import torch
from torch import nn

from Experiments.common.masks_for_run import allocate_masks, scores_for, target_kept
from Experiments.common.measuring import make_outcome, measure_network
from Experiments.common.network import load_data_and_model
from Layers import Masks
from Utils import randomness
from Utils.config.choices import DENSE
from Utils.config.resolved import Recipe
from Utils.config.settings import Settings
from Utils.config.target import Target
from Utils.data.dataset import Data
from Utils.distributed.process_group import agree
from Utils.errors import UserError
from Utils.results.outcome import Outcome
from Utils.training.context import RunContext
from Utils.training.hooks import Hooks
from Utils.training.loop import train
from Utils.training.task import task_of


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
    settings: Settings,
    context: RunContext,
    timetable: Callable[["RepeatedPruning"], Timetable],
    recipe: Recipe | None = None,
    columns: dict[str, Any] | None = None,
) -> Outcome:
    """Train one network and prune it by a schedule.

    `timetable` makes the schedule. `recipe` replaces the recipe of the settings. `columns` are summary columns of the
    experiment, with values.
    """
    data, model = load_data_and_model(settings)
    pruning = RepeatedPruning(model, data, settings)
    pruning.check_target()
    schedule = timetable(pruning)
    history = train(task_of(model, data, settings, recipe), context, pruning.hooks(schedule))
    measurement = measure_network(model, data, settings)
    tables = {} if pruning.is_dense else {"sparsity": pruning.table(), **schedule.tables()}
    target_count = target_kept(model, settings)
    return make_outcome(model, data, measurement, history, target_count, pruning.seconds, columns, tables)


@dataclass
class RepeatedPruning:
    """Prunes a network repeatedly, each time by its current weights, and records each pruning."""

    model: nn.Module
    data: Data
    settings: Settings
    rows: list[dict[str, Any]] = field(default_factory=list)
    """One row for each pruning: iteration, kept weights, and overlap with the previous masks."""
    seconds: float = 0.0
    """Time of all prunings."""

    def __post_init__(self) -> None:
        self.base = Masks.of(self.model)
        """Initial masks: entries that they prune never return."""
        self.generator = randomness.generator(self.settings.run.sample, "random scores")

    def hooks(self, schedule: Stateful) -> Hooks:
        """Hooks of a training in which a schedule decides when to prune."""

        def restore(state: dict[str, Any]) -> None:
            self.rows, self.seconds = state["rows"], state["seconds"]
            self.generator.set_state(state["generator"])
            schedule.restore(state["times"])

        def state() -> dict[str, Any]:
            record = {"rows": self.rows, "seconds": self.seconds, "generator": self.generator.get_state()}
            return record | {"times": schedule.state()}

        return Hooks(schedule.after_step, state=state, restore=restore)

    @property
    def is_dense(self) -> bool:
        """Whether the run prunes nothing."""
        return self.settings.pruning.pruner == DENSE

    def check_target(self) -> None:
        """Raise `UserError` before training if the target cannot be reached."""
        if not self.is_dense:
            self.masks(self.settings.target)

    def masks(self, target: Target) -> Masks:
        """Masks that reach a target by the current weights, within the current masks; the network is not changed."""

        def compute() -> Masks:
            scores = scores_for(self.model, self.data, self.settings, target, self.generator)
            return allocate_masks(self.model, scores, target, self.data, self.settings).to("cpu")

        return agree(compute)

    def prune(self, target: Target, iteration: int, is_carried: bool, is_final: bool = False) -> None:
        """Prune to a target, and record it.

        Previously pruned weights may return unless `is_carried`. An unreachable target raises `UserError` if it
        `is_final`; otherwise nothing more is pruned.
        """
        started, before = time.perf_counter(), Masks.of(self.model)
        if not is_carried:
            self.base.install(self.model)
        try:
            self.masks(target).install(self.model)
        except UserError:
            # An early target can be lower than the share of ineffective weights in the unpruned network.
            if is_final:
                raise
        self.seconds += time.perf_counter() - started
        self.record(iteration, before)

    def replace_masks(self, masks: Masks, iteration: int) -> None:
        """Install masks in the network, and record them."""
        before = Masks.of(self.model)
        masks.install(self.model)
        self.record(iteration, before)

    def record(self, iteration: int, before: Masks) -> None:
        """Append a row about the current masks; `before` are the previous masks."""
        masks = Masks.of(self.model)
        row = {"iteration": iteration, "kept_direct": masks.kept, "direct_sparsity": 1 - masks.kept / masks.total}
        self.rows.append({**row, "overlap": masks.overlap(before)})

    def table(self) -> pd.DataFrame:
        """Rows of all prunings."""
        return pd.DataFrame(self.rows, columns=["iteration", "kept_direct", "direct_sparsity", "overlap"])
