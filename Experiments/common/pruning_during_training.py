"""How is a network pruned while it trains?"""

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
from Utils.config.settings import Settings, Training
from Utils.config.target import Target
from Utils.data.dataset import Data
from Utils.distributed.process_group import agree
from Utils.errors import UserError
from Utils.results.outcome import Outcome
from Utils.training.hooks import Hooks
from Utils.training.loop import train


class Stateful(Protocol):
    """Changes a network at some steps of its training, and can go on where it was interrupted."""

    def after_step(self, step: int, optimizer: torch.optim.Optimizer) -> None:
        """Change it, if it is time."""
        ...

    def state(self) -> dict[str, Any]:
        """What it remembers, in tensors and plain values."""
        ...

    def restore(self, state: dict[str, Any]) -> None:
        """Remember that."""
        ...


class Timetable(Stateful, Protocol):
    """Prunes a network at some steps of its training."""

    def tables(self) -> dict[str, pd.DataFrame]:
        """What it found, beside what is recorded of every pruning."""
        ...


def prune_while_training(
    settings: Settings,
    timetable: Callable[["RepeatedPruning"], Timetable],
    show_progress: bool,
    training: Training | None = None,
    own: dict[str, Any] | None = None,
) -> Outcome:
    """Train one network and prune it as a timetable says; `own` are the experiment's own columns of its summary."""
    data, model = load_data_and_model(settings)
    ongoing = RepeatedPruning(model, data, settings)
    ongoing.check_target()
    times = timetable(ongoing)
    recipe, sample, title = training or settings.training, settings.run.sample, settings.title()
    hooks = ongoing.hooks(times)
    history = train(model, data, recipe, sample, title, show_progress, settings.machine, hooks)
    found = measure_network(model, data, settings)
    tables = {} if ongoing.is_dense else {"sparsity": ongoing.table(), **times.tables()}
    return make_outcome(model, data, found, history, target_kept(model, settings), ongoing.seconds, own, tables)


@dataclass
class RepeatedPruning:
    """Prunes a network again and again, each time by its weights as they are, and records it."""

    model: nn.Module
    data: Data
    settings: Settings
    rows: list[dict[str, Any]] = field(default_factory=list)
    """One for each time: when, how many weights are kept, and how far the masks are those of before."""
    seconds: float = 0.0

    def __post_init__(self) -> None:
        self.base = Masks.of(self.model)
        """Masks that nothing returns from."""
        self.generator = randomness.generator(self.settings.run.sample, "random scores")

    def hooks(self, times: Stateful) -> Hooks:
        """Those of a training in which this prunes, when something says so."""

        def restore(state: dict[str, Any]) -> None:
            self.rows, self.seconds = state["rows"], state["seconds"]
            self.generator.set_state(state["generator"])
            times.restore(state["times"])

        def state() -> dict[str, Any]:
            own = {"rows": self.rows, "seconds": self.seconds, "generator": self.generator.get_state()}
            return own | {"times": times.state()}

        return Hooks(times.after_step, state=state, restore=restore)

    @property
    def is_dense(self) -> bool:
        """Whether nothing is to be pruned."""
        return self.settings.pruning.pruner == DENSE

    def check_target(self) -> None:
        """Raise `UserError` now if the target cannot be reached, rather than when it is to be."""
        if not self.is_dense:
            self.masks(self.settings.target)

    def masks(self, target: Target) -> Masks:
        """The masks that the network's weights give now, within those that it has; nothing is changed."""

        def made() -> Masks:
            scores = scores_for(self.model, self.data, self.settings, target, self.generator)
            return allocate_masks(self.model, scores, target, self.data, self.settings).to("cpu")

        return agree(made)

    def prune(self, target: Target, iteration: int, is_carried: bool, is_final: bool = False) -> None:
        """Prune to a target; what is not carried may come back."""
        started, before = time.perf_counter(), Masks.of(self.model)
        if not is_carried:
            self.base.install(self.model)
        try:
            self.masks(target).install(self.model)
        except UserError:
            # Early targets can be below what does nothing in the unpruned network anyway.
            if is_final:
                raise
        self.seconds += time.perf_counter() - started
        self.record(iteration, before)

    def replace_masks(self, masks: Masks, iteration: int) -> None:
        """Give the network other masks."""
        before = Masks.of(self.model)
        masks.install(self.model)
        self.record(iteration, before)

    def record(self, iteration: int, before: Masks) -> None:
        """Write down what the network's masks are now."""
        now = Masks.of(self.model)
        row = {"iteration": iteration, "kept_direct": now.kept, "direct_sparsity": 1 - now.kept / now.total}
        self.rows.append({**row, "overlap": now.overlap(before)})

    def table(self) -> pd.DataFrame:
        """What was recorded."""
        return pd.DataFrame(self.rows, columns=["iteration", "kept_direct", "direct_sparsity", "overlap"])
