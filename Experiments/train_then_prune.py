"""How much of a trained network can go without training on: single weights, or whole units?

    python main.py --experiment=train-then-prune --architecture=mlp --data=mnist

The network-pruning program's question. A dense network is trained, with the weights of the lowest validation loss kept;
then, for each k of `--k_vals`, every hidden layer loses the share k of its smallest weights or, from the same trained
weights, of its units with the smallest norms, and is tested. The output layer stays whole. `results.csv` has the
program's columns.

As long as one dense training: 20 epochs of the MLP on MNIST in about 3 minutes on one core of an Intel Xeon.
"""

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
from Utils.results.outcome import Outcome
from Utils.topk import strongest
from Utils.training.evaluation import evaluate, evaluation_batch_size, untrained
from Utils.training.hooks import Hooks
from Utils.training.loop import train

COLUMNS = (
    "Sparsity (%)", "Test Accuracy (Weight)", "Test Accuracy (Unit)", "Test Loss: (Weight)", "Test Loss: (Unit)",
)  # fmt: skip
"""As the original program names them; in its README the first two are the wrong way round. Sparsity is a fraction."""


def trained_run(settings: Settings) -> None:
    """It trains what it prunes itself."""


def run(settings: Settings, trained: Mapping[str, Tensor] | None = None, show_progress: bool = True) -> Outcome:
    """Train one network, and test it pruned in both ways; `settings` are resolved."""
    data, model = load_data_and_model(settings)
    hidden = hidden_layers(model)
    best = _Best(model)
    training, sample = settings.training, settings.run.sample
    if training.train:
        hooks = Hooks(
            after_test=best.look,
            state=best.found,
            restore=best.restore,
            penalty=_penalty(model, hidden, settings.options),
        )
        history = train(model, data, training, sample, settings.title(), show_progress, settings.machine, hooks)
        if settings.options.keep_best and data.validation:
            restore(model, best.state)
    else:
        history = untrained(model, data, training, settings.machine)
    table = tests(model, data, settings, hidden)
    dense = _test(model, data, settings)
    kept = Masks.of(model).kept
    found = measure_network(model, data, settings)
    own = {"top1": dense["top1"], "test_loss": dense["loss"], "best_iteration": best.iteration}
    return make_outcome(model, data, found, history, kept, 0.0, own, {"results": table})


def hidden_layers(model: nn.Module) -> list[str]:
    """The prunable kernels of all layers but the last."""
    last = {f"{name}.weight" for name in output_layers(model)}
    return [name for name, (weight, _) in prunable(model).items() if weight.dim() > 1 and name not in last]


def tests(model: nn.Module, data: Data, settings: Settings, hidden: list[str]) -> pd.DataFrame:
    """Accuracy and loss for each share, of pruned weights and of pruned units."""
    pruned = copy.deepcopy(model)
    rows = []
    for k in settings.options.k_vals:
        found = []
        for masks in (weight_masks(model, hidden, k), unit_masks(model, hidden, k)):
            masks.install(pruned)
            found.append(_test(pruned, data, settings))
        values = [found[0]["top1"], found[1]["top1"], found[0]["loss"], found[1]["loss"]]
        rows.append(dict(zip(COLUMNS, [float(k), *(round(value, 4) for value in values)], strict=True)))
    return pd.DataFrame(rows, columns=list(COLUMNS))


def weight_masks(model: nn.Module, hidden: list[str], k: Decimal) -> Masks:
    """Masks without the floor(n k) smallest of each hidden layer's n weights."""
    return _masks(model, hidden, k, lambda weight: weight.abs())


def unit_masks(model: nn.Module, hidden: list[str], k: Decimal) -> Masks:
    """Masks without the floor(n k) of each hidden layer's n units whose incoming weights have the smallest norm."""
    return _masks(model, hidden, k, lambda weight: weight.flatten(1).norm(dim=1))


def _masks(model: nn.Module, hidden: list[str], k: Decimal, size: Any) -> Masks:
    masks: dict[str, Tensor] = dict(Masks.of(model))
    for name in hidden:
        sizes = size(prunable(model)[name][0].detach())
        kept = strongest(sizes.flatten(), sizes.numel() - int(sizes.numel() * k)).reshape(sizes.shape)
        masks[name] = masks[name] & (kept if kept.dim() > 1 else kept.reshape(-1, *[1] * (masks[name].dim() - 1)))
    return Masks(masks)


def _test(model: nn.Module, data: Data, settings: Settings) -> dict[str, float]:
    size = evaluation_batch_size(settings.training, data.input_shape)
    scores = evaluate(model, data, data.test, size)
    return {"top1": scores.top1, "loss": scores.loss}


def _penalty(model: nn.Module, hidden: list[str], own: Any) -> Any:
    if not own.l1_reg and not own.l2_reg:
        return None
    weights = [prunable(model)[name][0] for name in hidden]
    return lambda: sum(own.l1_reg * weight.abs().sum() + own.l2_reg * weight.square().sum() for weight in weights)


class _Best:
    """The state of a network when its validation loss was lowest."""

    def __init__(self, model: nn.Module) -> None:
        self.model, self.loss, self.iteration = model, float("inf"), 0
        self.state = state_of(model)

    def found(self) -> dict[str, Any]:
        """What to go on from."""
        return {"loss": self.loss, "iteration": self.iteration, "state": self.state}

    def restore(self, found: dict[str, Any]) -> None:
        """Go on from that."""
        self.loss, self.iteration, self.state = found["loss"], found["iteration"], found["state"]

    def look(self, row: dict[str, float]) -> None:
        """See whether it is lower now."""
        if row["iteration"] and row["val_loss"] < self.loss:
            self.loss, self.iteration, self.state = row["val_loss"], int(row["iteration"]), state_of(self.model)
