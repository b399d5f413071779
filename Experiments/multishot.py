"""What does a network reach that is trained, pruned and rewound, level by level?

    python main.py --experiment=multishot --pruner=magnitude --levels=10 --target_sparsity=0.9 --data=mnist

At each level the network is trained, pruned by its trained weights, and rewound; what is pruned stays pruned. Each
level prunes the same fraction of what is left, the last reaches the target. With `--rewind=init` that is iterative
magnitude pruning, which finds lottery tickets (Frankle & Carbin 2019); with a number of iterations, early rewinding
(Frankle et al. 2020); with `lr` or `none`, learning-rate rewinding and fine-tuning (Renda et al. 2020).
`--reinitialize` also trains the masks of each level from other initial weights, the control of the lottery tickets.

Levels + 1 times as long as a single shot; `--pre_iterations` shortens all trainings but the last.
"""

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn

from Experiments.common.masks_for_run import target_kept
from Experiments.common.measuring import make_outcome, measure_network
from Experiments.common.network import load_data_and_model, new_weights, restore, state_of
from Experiments.common.pruning_during_training import RepeatedPruning
from Utils.config.settings import Settings, Training
from Utils.config.target import Target
from Utils.data.dataset import Data
from Utils.errors import UserError
from Utils.results.outcome import Outcome
from Utils.results.schema import TRAINING_COLUMNS
from Utils.sparsity.measure import Measurement
from Utils.training.evaluation import History, untrained
from Utils.training.hooks import Hooks
from Utils.training.loop import train
from Utils.training.lr_schedules import learning_rate

_LEAST_RATE = 1e-3
"""Of the first learning rate: with less, a network does not train."""

LEVEL_COLUMNS = (
    "level", "weights", "target_kept", "kept_direct", "kept_effective", "direct_sparsity", "effective_sparsity",
    "iterations", "top1", "best_top1", "test_loss", "train_loss", "seconds",
)  # fmt: skip


def trained_run(settings: Settings) -> None:
    """It trains what it needs itself."""


def run(settings: Settings, trained: Mapping[str, Tensor] | None = None, show_progress: bool = True) -> Outcome:
    """Prune one network level by level; `settings` are resolved."""
    data, model = load_data_and_model(settings)
    return _Levels(settings, data, model, show_progress).run()


@dataclass
class _Levels:
    settings: Settings
    data: Data
    model: nn.Module
    show_progress: bool
    levels: list[dict[str, Any]] = field(default_factory=list)
    trainings: list[pd.DataFrame] = field(default_factory=list)

    def __post_init__(self) -> None:
        own = self.settings.options
        self.ongoing = RepeatedPruning(self.model, self.data, self.settings)
        self.count = 0 if self.ongoing.is_dense else own.levels
        self.point = int(own.rewind) if own.rewind.isdigit() else 0
        """Steps of the first training after which the weights are those to go back to."""
        self.rewound = state_of(self.model)

    def run(self) -> Outcome:
        """Train, then prune and train again as often as there are levels."""
        self.ongoing.check_target()
        if self.settings.options.rewind == "none":
            self._check_last_rate()
        found, history = self._level(0)
        for level in range(1, self.count + 1):
            if history.error:
                break
            found, history = self._level(level)
        network = self.model
        if self.settings.pruning.reinitialize and self.levels[-1]["weights"] == "new":
            network = self.control
        kept = self.levels[-1]["target_kept"]
        seconds = sum(level["seconds"] for level in self.levels)
        tables = {
            "levels": pd.DataFrame(self.levels, columns=list(LEVEL_COLUMNS)),
            "trainings": pd.concat(self.trainings),
        }
        own = {"train_seconds": seconds, "levels": self.count}
        return make_outcome(network, self.data, found, history, kept, self.ongoing.seconds, own, tables)

    def _check_last_rate(self) -> None:
        training = self.settings.training
        if training.train and self._last_rate() < _LEAST_RATE * (training.lr or 0):
            raise UserError(
                f"--rewind=none goes on with the last learning rate, which --lr_schedule={training.lr_schedule} leaves "
                "at almost 0; use --rewind=lr, or another schedule"
            )

    def _last_rate(self) -> float:
        training = self.settings.training
        return learning_rate(training, max(0, (training.iterations or 0) - 1))

    def _level(self, level: int) -> tuple[Measurement, History]:
        if level:
            self.ongoing.prune(self._target(level), level, is_carried=True, is_final=level == self.count)
            if self.settings.options.rewind not in ("none", "lr"):
                restore(self.model, self.rewound)
        found = measure_network(self.model, self.data, self.settings)
        return found, self._train(level, found)

    def _target(self, level: int) -> Target:
        return self.settings.target.part(level, max(1, self.count))

    def _train(self, level: int, found: Measurement) -> History:
        """Train a level's network, and, if so wished, the same masks from other initial weights."""
        recipe, start = self._recipe(level)
        history = self._history(self.model, level, found, self._goes_on(recipe) if level else recipe, start)
        self._keep(self.model, level, "rewound" if level else "initial", found, history)
        if not level or not self.settings.pruning.reinitialize or history.error:
            return history
        self.control = copy.deepcopy(self.model)
        restore(self.control, new_weights(self.settings, self.data))
        history = self._history(self.control, level, found, recipe, 0)
        self._keep(self.control, level, "new", found, history)
        return history

    def _recipe(self, level: int) -> tuple[Training, int]:
        """How a level is trained, and from which step on."""
        training, before = self.settings.training, self.settings.pruning.pre_iterations
        if level < self.count and before is not None:
            training = replace(training, iterations=before)
        return training, self.point if level else 0

    def _goes_on(self, recipe: Training) -> Training:
        """The same at the last learning rate, for weights that are not rewound."""
        if self.settings.options.rewind != "none":
            return recipe
        return replace(recipe, lr=self._last_rate(), lr_schedule="constant", warmup=None)

    def _history(self, model: nn.Module, level: int, found: Measurement, recipe: Training, start: int) -> History:
        machine, sample = self.settings.machine, self.settings.run.sample
        if not recipe.train or found.totals["collapsed"]:
            return untrained(model, self.data, recipe, machine)

        def remember(step: int, optimizer: torch.optim.Optimizer) -> None:
            if level == 0 and step == self.point:
                self.rewound = state_of(model)

        label = f"{self.settings.title()} level {level}"

        def restore(state: dict[str, Tensor]) -> None:
            if level == 0:
                self.rewound = {name: value.to(self.rewound[name].device) for name, value in state.items()}

        hooks = Hooks(remember, state=lambda: self.rewound if level == 0 else {}, restore=restore, only_looks=True)
        return train(model, self.data, recipe, sample, label, self.show_progress, machine, hooks, start)

    def _keep(self, model: nn.Module, level: int, weights: str, found: Measurement, history: History) -> None:
        last, totals = history.last, found.totals
        row = {
            "level": level,
            "weights": weights,
            "target_kept": target_kept(model, self.settings, self._target(level)),
        }
        row |= {name: totals[name] for name in LEVEL_COLUMNS if name in totals}
        row |= {"iterations": int(last["iteration"]), "best_top1": history.best("top1"), "seconds": last["seconds"]}
        self.levels.append(row | {name: last[name] for name in ("top1", "test_loss", "train_loss")})
        rows = pd.DataFrame(history.rows, columns=list(TRAINING_COLUMNS))
        self.trainings.append(rows.assign(level=level, weights=weights))
