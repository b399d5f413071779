"""Multi-shot pruning: the levels of one run, each pruned, rewound and trained."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pandas as pd
from torch import Tensor, nn

from Experiments.common.branching import Branch
from Experiments.common.network import restore, state_of
from Experiments.common.pruning_during_training import RepeatedPruning
from Experiments.common.trial import Trial
from Utils.config.resolved import Recipe
from Utils.config.settings import Settings
from Utils.config.target import Target
from Utils.errors import UserError
from Utils.results.artifacts import Artifact
from Utils.results.outcome import Outcome
from Utils.results.schema import TRAINING_COLUMNS
from Utils.sparsity.measure import Measurement
from Utils.training.callbacks import Callback
from Utils.training.context import RunContext
from Utils.training.evaluation import History, untrained
from Utils.training.lr_schedules import learning_rate
from Utils.training.state import TrainingState

_LEAST_RATE = 1e-3
"""Smallest usable learning rate, as a fraction of the initial one: below it, a network does not train."""

LEVEL_COLUMNS = (
    "level", "weights", "target_kept", "kept_direct", "kept_effective", "direct_sparsity", "effective_sparsity",
    "direct_macs", "iterations", "top1", "best_top1", "test_loss", "train_loss", "seconds",
)  # fmt: skip


def run(settings: Settings, inputs: Mapping[str, Artifact], context: RunContext) -> Outcome:
    """Prune one network level by level."""
    return _Levels(Trial(settings, context)).run()


@dataclass
class _Levels:
    """The levels of one run: level 0 trains the unpruned network, each further level prunes and trains it."""

    trial: Trial
    levels: list[dict[str, Any]] = field(default_factory=list)
    """Rows of `levels.csv`, one for each training."""
    trainings: list[pd.DataFrame] = field(default_factory=list)
    """Histories of all trainings."""

    def __post_init__(self) -> None:
        self.settings, self.model = self.trial.settings, self.trial.model
        options = self.settings.options
        self.pruning, self.branch = RepeatedPruning(self.trial), Branch(self.trial)
        self.count = 0 if self.trial.pruner.is_dense else options.levels
        self.rewind_point = RewindPoint(self.model, int(options.rewind) if options.rewind.isdigit() else 0)

    def run(self) -> Outcome:
        """Execute all levels, or stop after a training that failed."""
        self.pruning.check_target()
        if self.settings.options.rewind == "none":
            self._check_last_rate()
        measurement, history = self._level(0)
        for level in range(1, self.count + 1):
            if history.error:
                break
            measurement, history = self._level(level)
        network, recipe = self.model, self._continued(self.settings.recipe)
        if self.settings.pruning.reinitialize and self.levels[-1]["weights"] == "new":
            network, recipe = self.control, self.settings.recipe
        seconds = sum(level["seconds"] for level in self.levels)
        tables = {
            "levels": pd.DataFrame(self.levels, columns=list(LEVEL_COLUMNS)),
            "trainings": pd.concat(self.trainings),
        }
        columns = {"target_kept": self.levels[-1]["target_kept"], "train_seconds": seconds, "levels": self.count}
        outcome = self.trial.outcome(measurement, history, columns, tables, network)
        return self.branch.added(outcome, network, recipe)

    def _check_last_rate(self) -> None:
        """Raise `UserError` if fine-tuning would have a learning rate of almost 0."""
        recipe = self.settings.recipe
        if recipe.train and self._last_rate() < _LEAST_RATE * recipe.lr:
            raise UserError(
                f"--rewind=none trains at the last learning rate, which --lr_schedule={recipe.lr_schedule} leaves "
                "at almost 0; use --rewind=lr, or another schedule"
            )

    def _last_rate(self) -> float:
        recipe = self.settings.recipe
        return learning_rate(recipe, max(0, recipe.iterations - 1))

    def _level(self, level: int) -> tuple[Measurement, History]:
        """Prune and rewind, except at level 0, then measure and train."""
        if level:
            self.pruning.prune(self._target(level), level, is_carried=True, is_final=level == self.count)
            if self.settings.options.rewind not in ("none", "lr"):
                restore(self.model, self.rewind_point.weights)
        measurement = self.trial.measure()
        return measurement, self._train(level, measurement)

    def _target(self, level: int) -> Target:
        return self.settings.target.part(level, max(1, self.count))

    def _train(self, level: int, measurement: Measurement) -> History:
        """Train the network of a level and, with `--reinitialize`, the same masks from other initial weights."""
        recipe, start = self._recipe(level)
        continued = self._continued(recipe) if level else recipe
        history = self._history(self.model, level, measurement, continued, start)
        self._record(self.model, level, "rewound" if level else "initial", measurement, history)
        if not level or not self.settings.pruning.reinitialize or history.error:
            return history
        self.control = copy.deepcopy(self.model)
        restore(self.control, self.trial.new_weights())
        history = self._history(self.control, level, measurement, recipe, 0)
        self._record(self.control, level, "new", measurement, history)
        return history

    def _recipe(self, level: int) -> tuple[Recipe, int]:
        """The recipe of a level, and the step at which its training starts."""
        recipe, before = self.settings.recipe, self.settings.pruning.pre_iterations
        if level < self.count and before is not None:
            recipe = replace(recipe, iterations=before)
        return recipe, self.rewind_point.step if level else 0

    def _continued(self, recipe: Recipe) -> Recipe:
        """The recipe at the last learning rate with `--rewind=none`, otherwise the recipe as it is."""
        if self.settings.options.rewind != "none":
            return recipe
        return replace(recipe, lr=self._last_rate(), lr_schedule="constant", warmup=0)

    def _history(self, model: nn.Module, level: int, measurement: Measurement, recipe: Recipe, start: int) -> History:
        """Train a network, and save the weights to rewind to; a collapsed network is only tested."""
        if not recipe.train or measurement.totals["collapsed"]:
            return untrained(model, self.trial.data, recipe, self.settings.machine)
        is_control = model is not self.model
        name = f"level-{level}" + ("-new" if is_control else "")
        label = f"{self.settings.title()} level {level}"
        callbacks: tuple[Callback, ...] = () if level else (self.rewind_point,)
        if level == self.count and is_control == self.settings.pruning.reinitialize:
            callbacks += self.branch.callbacks
        return self.trial.train(*callbacks, model=model, recipe=recipe, name=name, label=label, start=start)

    def _record(self, model: nn.Module, level: int, weights: str, measurement: Measurement, history: History) -> None:
        """Append a training to the tables; `weights` names its initial weights."""
        last, totals = history.last, measurement.totals
        row = {
            "level": level,
            "weights": weights,
            "target_kept": self.trial.pruner.target_kept(model, self._target(level)),
        }
        row |= {name: totals[name] for name in LEVEL_COLUMNS if name in totals}
        row |= {"iterations": int(last["iteration"]), "best_top1": history.best("top1"), "seconds": last["seconds"]}
        self.levels.append(row | {name: last[name] for name in ("top1", "test_loss", "train_loss")})
        rows = pd.DataFrame(history.rows, columns=list(TRAINING_COLUMNS))
        self.trainings.append(rows.assign(level=level, weights=weights))


class RewindPoint(Callback):
    """Saves the weights of a network after some steps of its training, for rewinding."""

    def __init__(self, model: nn.Module, step: int) -> None:
        self.model, self.step, self.weights = model, step, state_of(model)

    def after_step(self, training: TrainingState) -> None:
        """Save the weights at the step."""
        if training.step == self.step:
            self.weights = state_of(self.model)

    def state(self) -> dict[str, Tensor]:
        """The saved weights."""
        return self.weights

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Restore a result of `state`."""
        self.weights = {name: value.to(self.weights[name].device) for name, value in state.items()}
