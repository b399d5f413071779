"""Pruning after training: trains one network, and tests it without some of its weights and of its units."""

import copy
import operator
from collections.abc import Mapping
from decimal import Decimal
from functools import reduce
from typing import Any

import pandas as pd
from torch import Tensor, nn

from Experiments.common.network import restore, state_of
from Experiments.common.trial import Trial
from Layers import Masks, prunable
from Utils.config.settings import Settings
from Utils.connectivity.interpreter import output_layers
from Utils.results.artifacts import Artifact
from Utils.results.outcome import Outcome
from Utils.topk import strongest
from Utils.training.callbacks import Callback
from Utils.training.context import RunContext
from Utils.training.evaluation import Scores, evaluate, evaluation_batch_size
from Utils.training.state import TrainingState

COLUMNS = (
    "Sparsity (%)", "Test Accuracy (Weight)", "Test Accuracy (Unit)", "Test Loss: (Weight)", "Test Loss: (Unit)",
)  # fmt: skip
"""Columns of the original program; its README exchanges the first two. Accuracies are fractions."""


def run(settings: Settings, inputs: Mapping[str, Artifact], context: RunContext) -> Outcome:
    """Train one network, then test it with pruned weights and with pruned units."""
    trial = Trial(settings, context)
    model = trial.model
    hidden = hidden_layers(model)
    best = BestWeights(model)
    if settings.recipe.train:
        penalty = HiddenPenalty(model, hidden, settings.options.l1_reg, settings.options.l2_reg)
        history = trial.train(best, penalty)
        if settings.options.keep_best and trial.data.validation:
            restore(model, best.weights)
    else:
        history = trial.test()
    table = tests(trial, hidden)
    dense = _test(trial, model)
    columns = {"top1": dense.top1, "test_loss": dense.loss, "best_iteration": best.iteration}
    return trial.outcome(trial.measure(), history, columns, {"results": table})


def hidden_layers(model: nn.Module) -> list[str]:
    """Names of the prunable kernels of all layers except the output layer."""
    outputs = {f"{name}.weight" for name in output_layers(model)}
    return [name for name, (weight, _) in prunable(model).items() if weight.dim() > 1 and name not in outputs]


def tests(trial: Trial, hidden: list[str]) -> pd.DataFrame:
    """Top-1 accuracy and loss with pruned weights and with pruned units, one row for each fraction k."""
    pruned = copy.deepcopy(trial.model)
    rows = []
    for k in trial.settings.options.k_vals:
        scores = []
        for masks in (weight_masks(trial.model, hidden, k), unit_masks(trial.model, hidden, k)):
            masks.install(pruned)
            scores.append(_test(trial, pruned))
        values = [scores[0].top1, scores[1].top1, scores[0].loss, scores[1].loss]
        rows.append(dict(zip(COLUMNS, [float(100 * k), *(round(value, 4) for value in values)], strict=True)))
    return pd.DataFrame(rows, columns=list(COLUMNS))


def weight_masks(model: nn.Module, hidden: list[str], k: Decimal) -> Masks:
    """Masks that prune the floor(n k) smallest of the n weights of each hidden layer."""
    return _masks(model, hidden, k, lambda weight: weight.abs())


def unit_masks(model: nn.Module, hidden: list[str], k: Decimal) -> Masks:
    """Masks that prune the floor(n k) units with the smallest norm of incoming weights, of n in each hidden layer."""
    return _masks(model, hidden, k, lambda weight: weight.flatten(1).norm(dim=1))


def _masks(model: nn.Module, hidden: list[str], k: Decimal, size: Any) -> Masks:
    """Masks that prune the entries (or, if `size` returns one value per unit, the units) with the smallest sizes."""
    masks: dict[str, Tensor] = dict(Masks.of(model))
    for name in hidden:
        sizes = size(prunable(model)[name][0].detach())
        kept = strongest(sizes.flatten(), sizes.numel() - int(sizes.numel() * k)).reshape(sizes.shape)
        masks[name] = masks[name] & (kept if kept.dim() > 1 else kept.reshape(-1, *[1] * (masks[name].dim() - 1)))
    return Masks(masks)


def _test(trial: Trial, model: nn.Module) -> Scores:
    size = evaluation_batch_size(trial.settings.recipe, trial.data.input_shape)
    return evaluate(model, trial.data, trial.data.test, size)


class HiddenPenalty(Callback):
    """Adds the L1 and L2 norms of hidden weights to the loss."""

    def __init__(self, model: nn.Module, hidden: list[str], l1: float, l2: float) -> None:
        self.weights = [prunable(model)[name][0] for name in hidden]
        self.l1, self.l2 = l1, l2

    def penalty(self, training: TrainingState) -> Tensor | None:
        """The sum of absolute and of squared weights, each times its coefficient."""
        if not self.l1 and not self.l2:
            return None
        terms = [self.l1 * weight.abs().sum() + self.l2 * weight.square().sum() for weight in self.weights]
        return reduce(operator.add, terms) if terms else None


class BestWeights(Callback):
    """Keeps the weights of a network at its lowest validation loss."""

    def __init__(self, model: nn.Module) -> None:
        self.model, self.loss, self.iteration = model, float("inf"), 0
        self.weights = state_of(model)

    def after_test(self, training: TrainingState, member: int) -> None:
        """Keep the weights if the validation loss is the lowest after a step."""
        row = training.histories[member].last
        if row["iteration"] and row["val_loss"] < self.loss:
            self.loss, self.iteration, self.weights = row["val_loss"], int(row["iteration"]), state_of(self.model)

    def state(self) -> dict[str, Any]:
        """The lowest loss, its iteration, and the weights."""
        return {"loss": self.loss, "iteration": self.iteration, "weights": self.weights}

    def load(self, state: Mapping[str, Any]) -> None:
        """Restore a result of `state`."""
        self.loss, self.iteration, self.weights = state["loss"], state["iteration"], state["weights"]
