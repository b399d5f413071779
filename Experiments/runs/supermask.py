"""Search for a mask: trains the mask of frozen weights, fixes it, fine-tunes the weights, and checks it for sanity."""

import copy
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pandas as pd
from torch import Tensor, nn

from Experiments.common.fine_tuning import fine_tuning_recipe
from Experiments.common.mask_search import Freezing, make_form, rounded_masks, smart_ratio_masks
from Experiments.common.search_record import COLUMNS, FineTuneRecord, PhaseRecord, SearchRecord
from Experiments.common.trial import Trial
from Layers import Masks
from Models.weight_inits import reinitialise
from Utils import randomness
from Utils.config.settings import Settings
from Utils.connectivity.effective import propagate_masks
from Utils.results.artifacts import Artifact
from Utils.results.outcome import Outcome
from Utils.results.supermask_scores import SCORES, Scores, scores_to_bytes
from Utils.training.context import RunContext
from Utils.training.evaluation import History

_REDRAWN = "kaiming-normal"
"""Distribution of the weights that a sanity check draws."""

_PURPOSES = {
    "shuffle": "shuffle", "reinitialize": "new weights", "invert": "sanity checks", "random": "sanity checks",
}  # fmt: skip
"""Generator of each sanity check: none depends on which others a run has."""

_FEWER = 0.95
"""Share of the free entries below which it was not freezing that made a rounded mask sparse."""


def run(settings: Settings, inputs: Mapping[str, Artifact], context: RunContext) -> Outcome:
    """Search for the mask of one network, and fine-tune it."""
    return _Run(Trial(settings, context)).outcome()


class _Run:
    """A run under way: its phases so far, with their rows and histories."""

    def __init__(self, trial: Trial) -> None:
        self.trial, self.settings, self.options = trial, trial.settings, trial.settings.options
        self.epoch = max(1, len(trial.data.train) // self.settings.recipe.batch_size)
        self.sample = self.settings.run.sample
        self.rows: list[dict[str, Any]] = []
        self.columns: dict[str, Any] = {}
        self.seconds = 0.0
        self.attachments: dict[str, bytes] = {}
        self.searched: Masks | None = None
        """Masks of the last row of the search."""

    def outcome(self) -> Outcome:
        """Search, fine-tune and check."""
        trial, options = self.trial, self.options
        if options.new_weights is not None:
            scale = self.settings.target.density if options.scale_fan else 1.0
            reinitialise(trial.model, options.new_weights, randomness.generator(self.sample, "mask weights"), scale)
        self.base = Masks.of(trial.model)
        history = self._search() if options.how.is_search else self._draw()
        measurement = trial.measure()
        if not history.error:
            history = self._fine_tune_and_check(history)
        tables = {"search": pd.DataFrame(self.rows, columns=list(COLUMNS))}
        self.columns |= {"iterations": self.settings.recipe.iterations, "train_seconds": self.seconds}
        outcome = trial.outcome(measurement, history, self.columns, tables)
        return replace(outcome, attachments={**outcome.attachments, **self.attachments})

    def _search(self) -> History:
        """Train the scores, and install the rounded mask."""
        trial, form = self.trial, make_form(self.trial)
        record = SearchRecord(*self._place("search", 0), form=form, trial=trial)
        history = trial.train(
            record, Freezing(trial, form, self.epoch), form=form, name="search", label=f"{self.settings.title()} search"
        )
        self._finish(record, history)
        self.searched = record.previous
        assert form.free is not None
        free, masks = form.free, trial.context.agree(lambda: rounded_masks(self.settings, form))
        masks.install(trial.model)
        if self.options.how.is_clamped:
            self.attachments = {SCORES: _stored_scores(form.scores, free)}
        self.columns |= {"search_top1": history.last["top1"], "free_kept": free.kept}
        if self.options.how.freezes and not history.error and masks.kept < _FEWER * free.kept:
            total = masks.total
            warnings.warn(
                f"{self.settings.title()}: small scores set the density, not freezing: "
                f"{masks.kept / total:.2%} of the weights are kept, though {free.kept / total:.2%} are not frozen out; "
                "a penalty and weight decay make scores small, and --unflag keeps all that are not frozen out",
                stacklevel=2,
            )
        return history

    def _draw(self) -> History:
        """Install a random mask, without a search."""
        trial = self.trial
        trial.context.agree(lambda: smart_ratio_masks(trial)).install(trial.model)
        return History()

    def _fine_tune_and_check(self, searched: History) -> History:
        """Fine-tune the network, and a copy for each sanity check; returns the history of search and fine-tuning."""
        trial, start = self.trial, copy.deepcopy(self.trial.model)
        done = int(searched.last["iteration"]) if searched.rows else 0
        record = FineTuneRecord(*self._place("fine-tune", done), previous=self.searched)
        history = self._fine_tune(trial.model, record)
        self.columns |= {"rounded_top1": history.rows[0]["top1"], "best_top1": history.best("top1")}
        for check in self.options.sanity_checks:
            if history.error:
                break
            model = copy.deepcopy(start)
            self._change(model, check)
            shape = trial.data.input_shape
            checked = self._fine_tune(model, PhaseRecord(model, shape, check, done, self.epoch))
            self.columns |= {f"{check}_top1": checked.last["top1"], f"{check}_kept": Masks.of(model).kept}
        return _joined(searched, history)

    def _change(self, model: nn.Module, check: str) -> None:
        """Change the masks or the weights of a copy of the network as a sanity check does."""
        masks, generator = Masks.of(model), randomness.generator(self.sample, _PURPOSES[check])
        if check in ("shuffle", "random"):
            masks = masks.to("cpu").shuffle(generator)
        if check == "invert":
            masks = self.base - masks
        masks.install(model)
        if check in ("reinitialize", "random"):
            reinitialise(model, _REDRAWN, generator)

    def _fine_tune(self, model: nn.Module, record: PhaseRecord) -> History:
        """Train the weights with fixed masks; a collapsed network is only tested."""
        how = self.options.how
        recipe = fine_tuning_recipe(self.settings, self.epoch) if how.is_search else self.settings.recipe
        if propagate_masks(model, self.trial.data.input_shape).output == 0:
            recipe = replace(recipe, iterations=0)
        label = f"{self.settings.title()} {record.phase}"
        with _frozen_biases(model, not self.options.fine_tune_biases):
            history = self.trial.train(record, model=model, recipe=recipe, name=record.phase, label=label)
        self._finish(record, history)
        return history

    def _place(self, phase: str, done: int) -> tuple[Any, ...]:
        return self.trial.model, self.trial.data.input_shape, phase, done, self.epoch

    def _finish(self, record: PhaseRecord, history: History) -> None:
        """Collect the rows and the seconds of a phase."""
        self.rows += record.rows
        self.seconds += history.last["seconds"]


def _stored_scores(scores: Mapping[str, Tensor], free: Masks) -> bytes:
    return scores_to_bytes(
        {name: Scores(score.float().cpu().numpy(), free[name].numpy()) for name, score in scores.items()}
    )


@contextmanager
def _frozen_biases(model: nn.Module, is_frozen: bool) -> Iterator[None]:
    """Context in which biases and shifts do not train, if they are frozen."""
    names = [name for name, _ in model.named_parameters() if name.rpartition(".")[2] == "bias"] if is_frozen else []
    biases = [bias for name in names if (bias := model.get_parameter(name)).requires_grad]
    for bias in biases:
        bias.requires_grad_(False)
    try:
        yield
    finally:
        for bias in biases:
            bias.requires_grad_(True)


def _joined(searched: History, tuned: History) -> History:
    """One history of a search and of the fine-tuning that follows.

    The test between them is that of the search, before rounding, or, if nothing is fine-tuned, of the rounded mask.
    """
    if not searched.rows:
        return tuned
    last, (rounded, *later) = searched.last, tuned.rows
    if not later:
        return History([*searched.rows[:-1], last | {name: rounded[name] for name in _TESTED}], tuned.error)
    rows = [row | {name: row[name] + last[name] for name in ("iteration", "epoch", "seconds")} for row in later]
    return History(searched.rows + rows, tuned.error)


_TESTED = ("val_loss", "val_top1", "test_loss", "top1", "top5")
"""Columns of a history that a test fills."""
