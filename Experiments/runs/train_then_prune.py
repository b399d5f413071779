"""Pruning after training: trains one network, and tests it without some of its weights and of its units."""

import copy
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import pandas as pd
from torch import Tensor, nn

from Experiments.common.measuring import make_outcome, measure_network
from Experiments.common.network import load_data_and_model, restore, state_of
from Layers import Masks, prunable
from Utils.config.settings import Settings
from Utils.connectivity.interpreter import output_layers
from Utils.data.dataset import Data
from Utils.results.artifacts import Artifact
from Utils.results.outcome import Outcome
from Utils.topk import strongest
from Utils.training.context import RunContext
from Utils.training.evaluation import evaluate, evaluation_batch_size, untrained
from Utils.training.hooks import Hooks
from Utils.training.loop import train
from Utils.training.task import task_of

COLUMNS = (
    "Sparsity (%)", "Test Accuracy (Weight)", "Test Accuracy (Unit)", "Test Loss: (Weight)", "Test Loss: (Unit)",
)  # fmt: skip
"""Columns of the original program; its README exchanges the first two. Sparsity is a fraction."""


def run(settings: Settings, inputs: Mapping[str, Artifact], context: RunContext) -> Outcome:
    """Train one network, then test it with pruned weights and with pruned units."""
    data, model = load_data_and_model(settings)
    hidden = hidden_layers(model)
    best = _Best(model)
    if settings.recipe.train:
        hooks = Hooks(
            after_test=best.update,
            state=best.checkpoint,
            restore=best.restore,
            penalty=_penalty(model, hidden, settings.options),
        )
        history = train(task_of(model, data, settings), context, hooks)
        if settings.options.keep_best and data.validation:
            restore(model, best.state)
    else:
        history = untrained(model, data, settings.recipe, settings.machine)
    table = tests(model, data, settings, hidden)
    dense = _test(model, data, settings)
    target_count = Masks.of(model).kept
    measurement = measure_network(model, data, settings)
    columns = {"top1": dense["top1"], "test_loss": dense["loss"], "best_iteration": best.iteration}
    return make_outcome(model, data, measurement, history, target_count, 0.0, columns, {"results": table})


def hidden_layers(model: nn.Module) -> list[str]:
    """Names of the prunable kernels of all layers except the output layer."""
    outputs = {f"{name}.weight" for name in output_layers(model)}
    return [name for name, (weight, _) in prunable(model).items() if weight.dim() > 1 and name not in outputs]


def tests(model: nn.Module, data: Data, settings: Settings, hidden: list[str]) -> pd.DataFrame:
    """Top-1 accuracy and loss with pruned weights and with pruned units, one row for each fraction k."""
    pruned = copy.deepcopy(model)
    rows = []
    for k in settings.options.k_vals:
        scores = []
        for masks in (weight_masks(model, hidden, k), unit_masks(model, hidden, k)):
            masks.install(pruned)
            scores.append(_test(pruned, data, settings))
        values = [scores[0]["top1"], scores[1]["top1"], scores[0]["loss"], scores[1]["loss"]]
        rows.append(dict(zip(COLUMNS, [float(k), *(round(value, 4) for value in values)], strict=True)))
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


def _test(model: nn.Module, data: Data, settings: Settings) -> dict[str, float]:
    size = evaluation_batch_size(settings.recipe, data.input_shape)
    scores = evaluate(model, data, data.test, size)
    return {"top1": scores.top1, "loss": scores.loss}


def _penalty(model: nn.Module, hidden: list[str], options: Any) -> Any:
    """Function that returns the L1 and L2 penalty of hidden weights; None without a penalty."""
    if not options.l1_reg and not options.l2_reg:
        return None
    weights = [prunable(model)[name][0] for name in hidden]
    l1, l2 = options.l1_reg, options.l2_reg
    return lambda: sum(l1 * weight.abs().sum() + l2 * weight.square().sum() for weight in weights)


class _Best:
    """State of a network at its lowest validation loss."""

    def __init__(self, model: nn.Module) -> None:
        self.model, self.loss, self.iteration = model, float("inf"), 0
        self.state = state_of(model)

    def checkpoint(self) -> dict[str, Any]:
        """The lowest loss, its iteration, and the state of the network."""
        return {"loss": self.loss, "iteration": self.iteration, "state": self.state}

    def restore(self, checkpoint: dict[str, Any]) -> None:
        """Restore a result of `checkpoint`."""
        self.loss, self.iteration, self.state = checkpoint["loss"], checkpoint["iteration"], checkpoint["state"]

    def update(self, row: dict[str, float]) -> None:
        """Save the network if a row of its history has a lower validation loss."""
        if row["iteration"] and row["val_loss"] < self.loss:
            self.loss, self.iteration, self.state = row["val_loss"], int(row["iteration"]), state_of(self.model)
