"""Sparse training with exchange of weights: the accuracy of a sparse network whose masks change while it trains.

    python main.py --experiment=dynamic --pruner=random/erk --target_sparsity=0.95 --grow=gradient --data=mnist

The network is pruned before training. Then, every `--exchange_every` iterations until `--end_step`, each layer prunes
its smallest weights and regrows the same number: those with the largest gradient (`--grow=gradient`: RigL, Evci et al.
2020) or random ones (`--grow=random`: SET, Mocanu et al. 2018). The number of weights in each layer is constant.

Takes as long as a single shot, plus a little for each exchange.
"""

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
from Utils.results.outcome import Outcome
from Utils.training.evaluation import untrained
from Utils.training.loop import train


def trained_run(settings: Settings) -> None:
    """None: initial masks come from the untrained network, because they change during training."""


def run(settings: Settings, trained: Mapping[str, Tensor] | None = None) -> Outcome:
    """Prune a network, then train it and exchange weights; `settings` are resolved."""
    data, model = load_data_and_model(settings)
    pruning = RepeatedPruning(model, data, settings)
    masks, seconds = find_masks_timed(model, data, settings, None)
    target_count = target_kept(model, settings)
    if settings.pruning.reinitialize:
        restore(model, new_weights(settings, data))
    masks.install(model)
    training, sample, machine = settings.training, settings.run.sample, settings.machine
    measurement = measure_network(model, data, settings)
    if measurement.totals["collapsed"]:
        history = untrained(model, data, training, machine)
    else:
        hooks = pruning.hooks(Exchanges(pruning))
        history = train(model, data, training, sample, settings.title(), machine, hooks)
        measurement = measure_network(model, data, settings)
    columns = {"grow": settings.options.grow}
    tables: dict[str, pd.DataFrame] = {} if pruning.is_dense else {"sparsity": pruning.table()}
    seconds += pruning.seconds
    return make_outcome(model, data, measurement, history, target_count, seconds, columns, tables)


class Exchanges:
    """Schedule that exchanges weights of a network at some steps of its training."""

    def __init__(self, pruning: RepeatedPruning) -> None:
        self.ongoing, self.settings, self.options = pruning, pruning.settings, pruning.settings.options
        self.end = round(self.options.end_step * (self.settings.training.iterations or 0))
        self.generator = randomness.generator(self.settings.run.sample, "growth")

    def after_step(self, step: int, optimizer: torch.optim.Optimizer) -> None:
        """Exchange weights if an exchange is due after `step` steps."""
        if self.ongoing.is_dense or not 0 < step < self.end or step % self.options.exchange_every:
            return
        model = self.ongoing.model
        before = Masks.of(model)
        growth = agree(lambda: {name: scores.cpu() for name, scores in self._growth().items()})
        device = next(model.parameters()).device
        fraction = drop_share(self.options.drop_fraction, step, self.end)
        new = drop_and_grow(model, fraction, {name: scores.to(device) for name, scores in growth.items()})
        self._forget(optimizer, new)
        self.ongoing.record(step, before)

    def state(self) -> dict[str, Any]:
        """State of the generator of random choices."""
        return {"generator": self.generator.get_state()}

    def restore(self, state: dict[str, Any]) -> None:
        """Restore a result of `state`."""
        self.generator.set_state(state["generator"])

    def _growth(self) -> dict[str, Tensor]:
        """Growth scores of all prunable entries, by parameter; the highest are regrown first."""
        if self.options.grow == "random":
            return random_growth(self.ongoing.model, self.generator)
        data, size = self.ongoing.data, self.settings.training.batch_size or 1
        batch = torch.randperm(len(data.train), generator=self.generator)[:size]
        return gradient_growth(self.ongoing.model, Batches(data, data.train, size, batch))

    def _forget(self, optimizer: torch.optim.Optimizer, new: Mapping[str, Tensor]) -> None:
        """Zero the optimizer state of regrown weights: it dates from before they were pruned."""
        for name, (parameter, _) in prunable(self.ongoing.model).items():
            for value in optimizer.state.get(parameter, {}).values():
                if isinstance(value, Tensor) and value.shape == parameter.shape:
                    value[new[name]] = 0
