"""Branch of a training: a second copy that trains on from a step with other batches, for instability analysis.

Frankle et al. 2020 ("Linear Mode Connectivity and the Lottery Ticket Hypothesis"): a network is stable to the noise of
training from a step on if both copies end in one linearly connected minimum. The first copy is the run itself, which
the branch does not change.
"""

import copy
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pandas as pd
from safetensors.torch import save
from torch import nn

from Experiments.common.linear_path import barriers, linear_path
from Experiments.common.trial import Trial, pruned_weights
from Utils.config.resolved import Recipe
from Utils.results.outcome import Outcome
from Utils.results.schema import TRAINING_COLUMNS
from Utils.training.callbacks import Callback
from Utils.training.state import TrainingState


class BranchPoint(Callback):
    """Keeps the weights and the optimizer of a training after a step."""

    def __init__(self, step: int) -> None:
        self.step = step
        self.saved: dict[str, Any] = {}
        """What a checkpoint would hold of form and optimizer; empty before the step."""

    def after_step(self, training: TrainingState) -> None:
        """Keep a copy at the step."""
        if training.step == self.step:
            self.saved = copy.deepcopy({"form": training.form.state(), "optimizer": training.optimizer.state_dict()})

    def state(self) -> dict[str, Any]:
        """The copy."""
        return self.saved

    def load(self, state: Mapping[str, Any]) -> None:
        """Restore a result of `state`."""
        self.saved = dict(state)


class _StartFromPoint(Callback):
    """Starts a training with the weights and the optimizer of a branch point."""

    def __init__(self, point: BranchPoint) -> None:
        self.point = point

    def after_step(self, training: TrainingState) -> None:
        """Load them before the first step, whose number no later step has."""
        if training.step == self.point.step:
            training.form.load(self.point.saved["form"])
            training.optimizer.load_state_dict(copy.deepcopy(self.point.saved["optimizer"]))


class Branch:
    """The second copy of a run with `--branch_at`; without it, nothing happens."""

    def __init__(self, trial: Trial) -> None:
        self.trial = trial
        step = getattr(trial.settings.options, "branch_at", None)  # an experiment may have other options
        self.callbacks = () if step is None else (BranchPoint(step),)
        """What the training that is branched calls."""

    def added(self, outcome: Outcome, model: nn.Module, recipe: Recipe) -> Outcome:
        """The outcome of a run with that of its second copy, which is trained here by the recipe of the first.

        `model` is the trained first copy. An outcome with an error, or of a network that was not trained, stays as it
        is. Order and augmentation of the images, and dropout, are those of a sample with a negative number.
        """
        (point,) = self.callbacks or (None,)
        if point is None or not point.saved or outcome.error:
            return outcome
        trial, second = self.trial, copy.deepcopy(model)
        history = trial.train(
            _StartFromPoint(point), model=second, recipe=recipe, sample=-1 - trial.settings.run.sample, name="branch",
            label=f"{trial.settings.title()} branch", start=point.step,
        )  # fmt: skip
        if history.error:
            return replace(outcome, error=f"the branch at step {point.step}: {history.error}")
        path = linear_path(model, second, trial.data, trial.settings.recipe, trial.settings.machine)
        columns = {**barriers(path), "branch_top1": history.last["top1"], "branch_test_loss": history.last["test_loss"]}
        rows = pd.DataFrame(history.rows, columns=list(TRAINING_COLUMNS))
        return replace(
            outcome,
            summary={**outcome.summary, **columns},
            tables={**outcome.tables, "branch": rows, "path": path},
            attachments={**outcome.attachments, "branch.safetensors": save(pruned_weights(second))},
        )
