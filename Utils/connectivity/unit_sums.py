"""Unit sums: the scores that enter each hidden unit, and those that leave it.

Units that meet in a sum, in a product or in a channel of a reader count as one. Units that meet inputs or outputs of
the network, or that nothing reads, have no sums.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from Utils.connectivity.interpreter import record_units
from Utils.connectivity.unit_groups import components, nodes_of


@dataclass(frozen=True)
class UnitSums:
    """Hidden units, by the first of the units that count as one, and the sums (units,) of their scores."""

    layers: list[str]
    """The layer of each unit."""
    units: np.ndarray
    """The number of each unit in its layer."""
    entering: np.ndarray
    """Sums over the weights into the units, their biases and their shifts."""
    leaving: np.ndarray
    """Sums over the weights that read the units."""


def unit_sums(model: nn.Module, input_shape: tuple[int, ...], scores: Mapping[str, Tensor]) -> UnitSums:
    """The sums of scores by hidden unit; `scores` are of all weights, and of biases and shifts where these count.

    `input_shape` excludes the batch axis. Raises `UserError` if torch.fx cannot trace the model, or for an operation
    without a rule.
    """
    record = record_units(model, input_shape)
    starts = np.cumsum([1, *map(len, record.numbers.values())])
    none = np.zeros((2, 0), dtype=np.int64)
    first = components(starts[-1], np.concatenate([none, *map(nodes_of, [*record.ties, *record.joins])], axis=1))
    entering, leaving, readers = np.zeros((3, starts[-1]))
    for name, numbers in record.numbers.items():
        for parameter in (name, f"{name.removesuffix('weight')}bias"):
            if parameter in scores:
                np.add.at(entering, first[nodes_of(numbers)], _row_sums(scores[parameter]))
    for name, channels in record.readers.items():
        own = first[nodes_of(channels)]
        if name in record.numbers:
            np.add.at(leaving, own, _column_sums(scores[name], len(channels)))
            np.add.at(readers, own, 1)
        elif name in scores:
            np.add.at(entering, own, _row_sums(scores[name]))
    hidden = np.flatnonzero((first == np.arange(starts[-1])) & (readers > 0))[int(readers[0] > 0) :]
    layer = np.searchsorted(starts, hidden, side="right") - 1
    names = [name.removesuffix(".weight") for name in record.numbers]
    return UnitSums([names[index] for index in layer], hidden - starts[layer], entering[hidden], leaving[hidden])


def _row_sums(values: Tensor) -> np.ndarray:
    """The sum (units,) of a parameter's values for each unit, in float64."""
    return values.detach().reshape(len(values), -1).sum(1, dtype=torch.float64).cpu().numpy()


def _column_sums(weight: Tensor, channels: int) -> np.ndarray:
    """The sum (channels,) of a kernel's values (units, channels of a group, ...) for each channel, in float64."""
    groups = channels // weight.shape[1]
    by_group = weight.detach().reshape(groups, len(weight) // groups, weight.shape[1], -1)
    return by_group.sum((1, 3), dtype=torch.float64).flatten().cpu().numpy()
