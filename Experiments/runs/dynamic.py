"""Exchange of weights: a schedule that drops and regrows weights while a network trains."""

from collections.abc import Mapping
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from Experiments.common.masks_for_run import find_masks_timed, target_kept
from Experiments.common.measuring import make_outcome, measure_network
from Experiments.common.network import load_data_and_model, new_weights, restore
from Experiments.common.pruning_during_training import RepeatedPruning
from Layers import Masks, prunable
from Pruners.schedules.regrowth import drop_and_grow, drop_share, gradient_growth, random_growth
from Utils import randomness
from Utils.config.settings import Settings
from Utils.data.dataset import Batches
from Utils.distributed.process_group import agree
from Utils.results.artifacts import Artifact
from Utils.results.outcome import Outcome
from Utils.training.context import RunContext
from Utils.training.evaluation import untrained
from Utils.training.loop import train
from Utils.training.task import task_of


def run(settings: Settings, inputs: Mapping[str, Artifact], context: RunContext) -> Outcome:
    """Prune a network, then train it and exchange weights."""
    data, model = load_data_and_model(settings)
    pruning = RepeatedPruning(model, data, settings)
    masks, seconds = find_masks_timed(model, data, settings, None)
    target_count = target_kept(model, settings)
    if settings.pruning.reinitialize:
        restore(model, new_weights(settings, data))
    masks.install(model)
    measurement = measure_network(model, data, settings)
    if measurement.totals["collapsed"]:
        history = untrained(model, data, settings.recipe, settings.machine)
    else:
        hooks = pruning.hooks(Exchanges(pruning))
        history = train(task_of(model, data, settings), context, hooks)
        measurement = measure_network(model, data, settings)
    columns = {"grow": settings.options.grow}
    tables: dict[str, pd.DataFrame] = {} if pruning.is_dense else {"sparsity": pruning.table()}
    seconds += pruning.seconds
    return make_outcome(model, data, measurement, history, target_count, seconds, columns, tables)


class Exchanges:
    """Schedule that exchanges weights of a network at some steps of its training."""

    def __init__(self, pruning: RepeatedPruning) -> None:
        self.pruning, self.settings, self.options = pruning, pruning.settings, pruning.settings.options
        self.end = round(self.options.end_step * (self.settings.recipe.iterations))
        self.generator = randomness.generator(self.settings.run.sample, "growth")

    def after_step(self, step: int, optimizer: torch.optim.Optimizer) -> None:
        """Exchange weights if an exchange is due after `step` steps."""
        if self.pruning.is_dense or not 0 < step < self.end or step % self.options.exchange_every:
            return
        model = self.pruning.model
        before = Masks.of(model)
        growth = agree(lambda: {name: scores.cpu() for name, scores in self._growth().items()})
        device = next(model.parameters()).device
        fraction = drop_share(self.options.drop_fraction, step, self.end)
        new = drop_and_grow(model, fraction, {name: scores.to(device) for name, scores in growth.items()})
        self._forget(optimizer, new)
        self.pruning.record(step, before)

    def state(self) -> dict[str, Any]:
        """State of the generator of random choices."""
        return {"generator": self.generator.get_state()}

    def restore(self, state: dict[str, Any]) -> None:
        """Restore a result of `state`."""
        self.generator.set_state(state["generator"])

    def _growth(self) -> dict[str, Tensor]:
        """Growth scores of all prunable entries, by parameter; the highest are regrown first."""
        if self.options.grow == "random":
            return random_growth(self.pruning.model, self.generator)
        data, size = self.pruning.data, self.settings.recipe.batch_size
        batch = torch.randperm(len(data.train), generator=self.generator)[:size]
        return gradient_growth(self.pruning.model, Batches(data, data.train, size, batch))

    def _forget(self, optimizer: torch.optim.Optimizer, new: Mapping[str, Tensor]) -> None:
        """Zero the optimizer state of regrown weights: it dates from before they were pruned."""
        for name, (parameter, _) in prunable(self.pruning.model).items():
            for value in optimizer.state.get(parameter, {}).values():
                if isinstance(value, Tensor) and value.shape == parameter.shape:
                    value[new[name]] = 0
