"""Linear path between two networks: loss and accuracy on the line between their weights, and the barrier on it.

Frankle et al. 2020 ("Linear Mode Connectivity and the Lottery Ticket Hypothesis") call two solutions linearly connected
if the error does not rise between them.
"""

import copy
from collections.abc import Mapping

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from Experiments.common.network import restore
from Experiments.common.trial import pruned_weights
from Layers import Masks
from Utils.config.groups import Machine
from Utils.config.resolved import Recipe
from Utils.data.dataset import Batches, Data
from Utils.training.evaluation import evaluate, evaluation_batch_size
from Utils.training.precision import Compute, Forward

POINTS = 11
"""Points of a path, with both ends."""


def linear_path(
    first: nn.Module,
    second: nn.Module,
    data: Data,
    recipe: Recipe,
    machine: Machine | None = None,
    points: int = POINTS,
) -> pd.DataFrame:
    """Loss and top-1 accuracy of the networks (1 - alpha) first + alpha second; both are left unchanged.

    Pruned entries count as 0. Without batch normalisation, the ends are the networks themselves. With it, the running
    statistics of every point, the ends among them, are recomputed as means over all training images, without
    augmentation, in batches of the size of tests: interpolated statistics fit no point, and the own statistics of the
    ends lag behind their weights.

    Columns: `alpha`, from 0 to 1 at equal distances, `train_loss`, `train_top1`, `test_loss`, `top1`.
    """
    start, end = (pruned_weights(network) for network in (first, second))
    network = copy.deepcopy(first)
    (Masks.of(first) | Masks.of(second)).install(network)
    batch_size = evaluation_batch_size(recipe, data.input_shape)
    rows = []
    with Compute(network.eval(), machine or Machine()) as compute:
        forward = compute.forward()
        for alpha in np.linspace(0, 1, points).tolist():
            restore(network, _between(start, end, alpha))
            recompute_statistics(network, Batches(data, data.train, batch_size), forward)
            train, test = (evaluate(network, data, split, batch_size, forward) for split in (data.train, data.test))
            scores = {"train_loss": train.loss, "train_top1": train.top1, "test_loss": test.loss, "top1": test.top1}
            rows.append({"alpha": alpha, **scores})
    return pd.DataFrame(rows)


def barrier(alphas: np.ndarray, values: np.ndarray) -> float:
    """The largest rise of values above the straight line between those of the ends, at least 0; NaN if one is NaN.

    `alphas` ascend from 0 to 1; `values` are losses or errors at these points (Entezari et al. 2022, equation 1).
    """
    line = values[0] + np.asarray(alphas) * (values[-1] - values[0])
    rises = np.asarray(values) - line
    rises[[0, -1]] = 0 * rises[[0, -1]]  # exactly 0, where rounding may leave a little
    return float(rises.max()) + 0.0  # not -0.0


def barriers(path: pd.DataFrame) -> dict[str, float]:
    """The barriers of a result of `linear_path`: of loss and error (1 - top-1), on test and on training images."""
    values = {
        "barrier": path["test_loss"], "error_barrier": 1 - path["top1"],
        "train_barrier": path["train_loss"], "train_error_barrier": 1 - path["train_top1"],
    }  # fmt: skip
    alphas = path["alpha"].to_numpy()
    return {name: barrier(alphas, column.to_numpy()) for name, column in values.items()}


@torch.no_grad()
def recompute_statistics(model: nn.Module, batches: Batches, forward: Forward | None = None) -> None:
    """Set the running statistics of batch normalisation to their means over batches; nothing else trains or drops out.

    `forward` replaces the call of the network. The network is left in evaluation mode.
    """
    model.eval()
    layers = [layer for layer in model.modules() if isinstance(layer, _BatchNorm) and layer.running_mean is not None]
    if not layers:
        return
    momenta = [layer.momentum for layer in layers]
    for layer in layers:
        layer.reset_running_stats()
        layer.momentum = None  # the mean of all batches
        layer.train()
    for images, _ in batches:
        (forward or model)(images)
    for layer, momentum in zip(layers, momenta, strict=True):
        layer.momentum = momentum
    model.eval()


def _between(first: Mapping[str, Tensor], second: Mapping[str, Tensor], alpha: float) -> dict[str, Tensor]:
    """The point (1 - alpha) first + alpha second; an end is bit for bit itself, and integers are those of the first."""
    if alpha in (0, 1):
        return dict(second if alpha else first)
    return {
        name: value.lerp(second[name], alpha) if value.is_floating_point() else value for name, value in first.items()
    }
