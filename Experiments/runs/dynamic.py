"""Exchange of weights: a schedule that drops and regrows weights while a network trains."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from Experiments.common.pruning_during_training import RepeatedPruning
from Experiments.common.trial import Trial
from Layers import Masks, prunable
from Layers.forms.dynamic import Dynamic
from Pruners.schedules.regrowth import drop_and_grow, drop_share, gradient_growth, random_growth
from Utils import randomness
from Utils.config.settings import Settings
from Utils.data.dataset import Batches
from Utils.results.artifacts import Artifact
from Utils.results.outcome import Outcome
from Utils.training.context import RunContext
from Utils.training.state import TrainingState


def run(settings: Settings, inputs: Mapping[str, Artifact], context: RunContext) -> Outcome:
    """Prune a network, then train it and exchange weights."""
    trial = Trial(settings, context)
    exchanges = Exchanges(trial)
    masks = trial.find_masks()
    if settings.pruning.reinitialize:
        trial.reinitialize()
    masks.install(trial.model)
    measurement = trial.measure()
    if measurement.totals["collapsed"]:
        history = trial.test()
    else:
        history = trial.train(exchanges, form=Dynamic())
        measurement = trial.measure()
    return trial.outcome(measurement, history, {"grow": settings.options.grow}, exchanges.tables())


class Exchanges(RepeatedPruning):
    """Schedule that exchanges weights of a network at some steps of its training."""

    def __init__(self, trial: Trial) -> None:
        super().__init__(trial)
        self.recipe = trial.settings.recipe
        self.end = round(self.options.end_step * self.recipe.iterations)
        self.choices = randomness.generator(trial.settings.run.sample, "growth")

    def change_masks(self, training: TrainingState) -> None:
        """Exchange weights if an exchange is due."""
        step = training.step
        if not 0 < step < self.end or step % self.options.exchange_every:
            return
        model, device = self.trial.model, self.trial.device
        before = Masks.of(model)
        growth = self.trial.context.agree(lambda: {name: scores.cpu() for name, scores in self._growth().items()})
        fraction = drop_share(self.options.drop_fraction, step, self.end)
        new = drop_and_grow(model, fraction, {name: scores.to(device) for name, scores in growth.items()})
        self._forget(training.optimizer, new)
        self.record(step, before)

    def state(self) -> dict[str, Any]:
        """Also the state of the generator of random choices."""
        return super().state() | {"choices": self.choices.get_state()}

    def load(self, state: Mapping[str, Any]) -> None:
        """Restore a result of `state`."""
        super().load(state)
        self.choices.set_state(state["choices"])

    def _growth(self) -> dict[str, Tensor]:
        """Growth scores of all prunable entries, by parameter; the highest are regrown first."""
        if self.options.grow == "random":
            return random_growth(self.trial.model, self.choices)
        data, size = self.trial.data, self.recipe.batch_size
        batch = torch.randperm(len(data.train), generator=self.choices)[:size]
        return gradient_growth(self.trial.model, Batches(data, data.train, size, batch))

    def _forget(self, optimizer: torch.optim.Optimizer, new: Mapping[str, Tensor]) -> None:
        """Zero the optimizer state of regrown weights: it dates from before they were pruned."""
        for name, (parameter, _) in prunable(self.trial.model).items():
            for value in optimizer.state.get(parameter, {}).values():
                if isinstance(value, Tensor) and value.shape == parameter.shape:
                    value[new[name]] = 0
