"""Record of a search for a mask: one row for each test of the search, of fine-tuning and of sanity checks."""

import math
from collections.abc import Mapping
from typing import Any

from torch import nn

from Experiments.common.trial import Trial
from Layers import Masks
from Layers.forms.supermask import Supermask
from Utils.connectivity.effective import effective_masks
from Utils.training.callbacks import Callback
from Utils.training.evaluation import evaluate, evaluation_batch_size
from Utils.training.state import TrainingState

COLUMNS = (
    "phase", "epoch", "iteration", "soft_top1", "top1", "val_top1", "train_top1", "penalty", "density_before",
    "effective_density_before", "density", "effective_density", "free_density", "flips",
)  # fmt: skip
"""Columns of `search.csv`. Accuracies are fractions, densities shares of all prunable entries, flips entries."""


class PhaseRecord(Callback):
    """Appends a row for each test of a training with fixed masks; the row is about what was tested.

    Epochs and iterations are counted from the start of the run. `flips` are the mask entries that changed since the
    last row, or since the first test.
    """

    def __init__(self, model: nn.Module, input_shape: tuple[int, ...], phase: str, done: int, epoch: int) -> None:
        """`done`: iterations before this training; `epoch`: iterations per epoch."""
        self.model, self.input_shape, self.phase, self.done, self.epoch = model, input_shape, phase, done, epoch
        self.rows: list[dict[str, Any]] = []
        self.previous = Masks.of(model)
        """Masks of the last row."""

    def after_test(self, training: TrainingState, member: int) -> None:
        """Append a row; the test before the first step has none, and only shows the masks that flips start from."""
        self.append(training, self.phase)
        if not training.step:
            self.rows.clear()

    def append(self, training: TrainingState, phase: str) -> None:
        """Append the row of the last test."""
        test, masks = training.histories[0].last, Masks.of(self.model)
        row = dict.fromkeys(COLUMNS, math.nan) | {name: test[name] for name in ("top1", "val_top1", "train_top1")}
        iteration = self.done + training.step
        row |= {"phase": phase, "epoch": math.ceil(iteration / self.epoch), "iteration": iteration, "penalty": 0.0}
        flips = (masks - self.previous).kept + (self.previous - masks).kept
        self.rows.append(row | self.densities(masks, "") | {"flips": flips})
        self.previous = masks

    def densities(self, masks: Masks, suffix: str) -> dict[str, float]:
        """Direct and effective density of masks."""
        effective = Masks(effective_masks(self.model, self.input_shape, masks))
        values = {"density": masks.kept, "effective_density": effective.kept}
        return {f"{name}{suffix}": kept / masks.total for name, kept in values.items()}

    def state(self) -> dict[str, Any]:
        """The rows, and the masks of the last one."""
        return {"rows": self.rows, "previous": {name: mask.cpu() for name, mask in self.previous.items()}}

    def load(self, state: Mapping[str, Any]) -> None:
        """Restore a result of `state`."""
        device = next(iter(self.previous.values())).device
        self.rows, self.previous = state["rows"], Masks(state["previous"]).to(device)


class FineTuneRecord(PhaseRecord):
    """The record of fine-tuning, which begins with a row of the rounded mask."""

    def __init__(self, *place: Any, previous: Masks | None) -> None:
        """`previous`: the masks of the last row of the search, if there was one."""
        super().__init__(*place)
        self.previous = previous or self.previous

    def after_test(self, training: TrainingState, member: int) -> None:
        """Append a row."""
        self.append(training, self.phase if training.step else "rounded")


class SearchRecord(PhaseRecord):
    """The record of a search, also of the scores before they are rounded."""

    def __init__(self, *place: Any, form: Supermask, trial: Trial) -> None:
        super().__init__(*place)
        self.form, self.trial = form, trial

    def after_check(self, training: TrainingState, loss: float, top1: float) -> None:
        """Stop a search with scores that are not finite: nothing is kept of these, so that the loss may be finite."""
        history, scores = training.histories[0], self.form.current_scores().values()
        if not history.error and not all(bool(score.isfinite().all()) for score in scores):
            history.error = f"search diverged: the scores are not finite at iteration {training.step}"

    def append(self, training: TrainingState, phase: str) -> None:
        """Append the row of the last test, and what is not rounded."""
        free, scores = self.form.current_free(), self.form.current_values()
        scored = Masks({name: free[name] & (score != 0) for name, score in scores.items()})
        before = self.densities(scored, "_before") | {"penalty": self.form.penalty_value()}
        is_soft = self.form.rounding.is_soft
        with self.form.rounded():
            super().append(training, phase)
            row = self.rows[-1]
            row |= before | {"soft_top1": row["top1"], "free_density": free.kept / free.total}
            if is_soft:
                row["top1"] = self._top1()

    def _top1(self) -> float:
        data, recipe = self.trial.data, self.trial.settings.recipe
        return evaluate(self.model, data, data.test, evaluation_batch_size(recipe, data.input_shape)).top1
