"""Symmetries of a network: the unit permutations that leave its function as it is, read from its traced graph.

Units that meet in a sum, a product or a channel of a reader have one place: they are permuted alike. Places that the
same layers make and read, equally often, form a stream, within which they can be exchanged. A plain network has a
stream per hidden layer; a residual network has one per residual stream and one per interior of a block. Channels that
are concatenated form streams by the layer that makes them.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from torch import nn

from Experiments.comparison.networks import Layer
from Utils.connectivity.interpreter import record_units
from Utils.connectivity.ops.unit_record import UnitRecord
from Utils.connectivity.unit_groups import components, nodes_of
from Utils.errors import UserError


class Axis:
    """The units or the channels of a kernel, each with its place; entries with place 0 stay where they are."""

    def __init__(self, places: np.ndarray, count: int) -> None:
        self.places = places
        self.order = np.argsort(places, kind="stable")
        self.starts = np.searchsorted(places[self.order], np.arange(count + 1))

    def moved(self, partners: np.ndarray) -> np.ndarray:
        """For each entry, the index of the entry that comes in its stead, at the partner of its place."""
        number = np.empty(len(self.places), dtype=np.int64)
        number[self.order] = np.arange(len(number)) - self.starts[self.places[self.order]]
        return self.order[self.starts[partners[self.places]] + number]

    def entries(self, places: np.ndarray) -> np.ndarray:
        """The indices (places, repetitions) of the entries at places of one stream."""
        repetitions = int(self.starts[places[0] + 1] - self.starts[places[0]])
        return self.order[self.starts[places][:, None] + np.arange(repetitions)]


class Axes(NamedTuple):
    """The axes of a kernel that permutations act on."""

    units: Axis
    channels: Axis
    """Input channels, or inputs of a dense layer: all that a flattened channel gives have its place."""


@dataclass(frozen=True)
class Symmetries:
    """The exchangeable units of a network."""

    layers: dict[str, Axes]
    """By name of the layer, in the order of the graph."""
    streams: list[np.ndarray]
    """Places that can be exchanged with each other, two or more, by stream in the order of the graph."""
    count: int
    """Number of places, with 0."""
    every: dict[str, Axes]
    """The axes of all layers, those without masks among them: they move with the others."""

    def orders(self, partners: np.ndarray) -> dict[str, np.ndarray]:
        """The order of the units of all layers by the partners (count,) of places."""
        return {name: axes.units.moved(partners) for name, axes in self.every.items()}

    @property
    def identity(self) -> np.ndarray:
        """The partner (count,) of each place if none moves."""
        return np.arange(self.count)

    def makers(self, stream: np.ndarray) -> list[str]:
        """The layers whose units are in a stream."""
        return [name for name, axes in self.layers.items() if axes.units.entries(stream).size]

    def touched(self, stream: np.ndarray) -> list[str]:
        """The layers that make or read a stream."""
        return [name for name, axes in self.layers.items() if any(axis.entries(stream).size for axis in axes)]

    @property
    def is_tied(self) -> bool:
        """Whether several layers make one stream."""
        return any(len(self.makers(stream)) > 1 for stream in self.streams)


def no_symmetries(layers: Iterable[Layer]) -> Symmetries:
    """Axes of layers whose units all stay."""
    fixed = {
        layer.name: Axes(*(Axis(np.zeros(size, dtype=np.int64), 1) for size in layer.weights.shape[:2]))
        for layer in layers
    }
    return Symmetries(fixed, [], 1, fixed)


def symmetries_of(model: nn.Module, input_shape: tuple[int, ...], layers: Sequence[Layer]) -> Symmetries:
    """The symmetries of a network for the layers that are compared.

    Units of one layer that pass through different functions on their way to the same readers are not told apart.
    Raises `UserError` for a grouped convolution that is not depthwise, for a normalisation of several units, and as
    `record_units` does.
    """
    record = record_units(model, input_shape)
    _check(model, record)
    count = 1 + sum(map(len, record.numbers.values()))
    pairs = [np.zeros((2, 0), dtype=np.int64), *map(nodes_of, [*record.ties, *record.joins, *record.depthwise])]
    places = components(count, np.concatenate(pairs, axis=1))
    axes = {}
    for name, numbers in record.numbers.items():
        width = model.get_parameter(name).shape[1]
        channels = record.readers[name] if len(record.readers[name]) == width else record.readers[name][:width] * 0
        axes[name.removesuffix(".weight")] = Axes(*(Axis(places[nodes_of(own)], count) for own in (numbers, channels)))
    streams = _streams(axes.values(), places)
    compared = {layer.name for layer in layers}
    return Symmetries({name: own for name, own in axes.items() if name in compared}, streams, count, axes)


def _streams(layers: Iterable[Axes], places: np.ndarray) -> list[np.ndarray]:
    profiles = np.stack([np.diff(axis.starts) for axes in layers for axis in axes])
    hidden = np.unique(places)[1:]
    kinds = np.unique(profiles[:, hidden], axis=1, return_inverse=True)[1].reshape(-1)
    streams = [hidden[kinds == kind] for kind in np.unique(kinds)]
    return sorted((stream for stream in streams if len(stream) > 1), key=lambda stream: stream[0])


def _check(model: nn.Module, record: UnitRecord) -> None:
    """Refuse what permutations of whole units do not commute with."""
    advice = "compare these networks without alignment"
    for name, channels in record.readers.items():
        width = model.get_parameter(name).shape[1] if name in record.numbers else len(channels)
        if width not in (1, len(channels)):
            layer = name.removesuffix(".weight")
            raise UserError(
                f"units of {type(model).__name__} cannot be aligned: {layer} reads them in groups; {advice}"
            )
    layers = {name.removesuffix(".weight") for name in record.numbers}
    known = {f"{side} of {layer}" for layer in layers for side in ("units", "inputs")}
    for what, _ in record.covers:
        if what not in known:
            raise UserError(f"units cannot be aligned: {what.removeprefix('inputs of ')} joins several; {advice}")
