"""Alignment of the units of two networks: the permutations of the second one that bring it close to the first.

A permutation acts on the whole network: the layers that read a unit follow it, through flattening, sums and
concatenations, and the outputs stay. The function of the second network is therefore the same after alignment.
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from scipy.optimize import linear_sum_assignment

from Experiments.comparison.distances.measures import Measure
from Experiments.comparison.distances.symmetries import Symmetries
from Experiments.comparison.networks import Layer

Kernels = Mapping[str, np.ndarray]
"""float64 (units, channels, positions) by layer, 0 where not effective."""

_TIE, _IDENTITY = 1e-9, 1e-12
"""Costs that decide between equal distances only: for unlike weights, and for a unit that moves."""

_MOST_SWEEPS = 100


def kernels_of(layers: Sequence[Layer]) -> Kernels:
    """The weights of layers with one axis of positions; a dense layer has one position."""
    return {layer.name: layer.weights.reshape(*layer.weights.shape[:2], -1) for layer in layers}


def moved(kernel: np.ndarray, name: str, symmetries: Symmetries, partners: np.ndarray) -> np.ndarray:
    """The kernel of a layer after permutation: the unit at a place is the one that was at the partner of the place."""
    units, channels = (axis.moved(partners) for axis in symmetries.layers[name])
    return kernel[units][:, channels]


def rows(kernel: np.ndarray) -> np.ndarray:
    """The weights (units, inputs) of a kernel."""
    return kernel.reshape(len(kernel), math.prod(kernel.shape[1:]))


def first_layer_first(symmetries: Symmetries, first: Kernels, second: Kernels, measure: Measure) -> np.ndarray:
    """The partner (count,) of each place, by the greedy order of NNSTD (Liu et al. 2020, arXiv 2006.14085).

    From the first layer to the last, units are matched with the least sum of distances, after the channels that a layer
    reads have been permuted by the matchings before. Of the layers that make one stream, the first one decides. Equal
    distances are decided by the weights, then in favour of units of the same number.
    """
    partners, open_streams = symmetries.identity, list(symmetries.streams)
    for name, axes in symmetries.layers.items():
        made = [stream for stream in open_streams if axes.units.entries(stream).size]
        open_streams = [stream for stream in open_streams if not axes.units.entries(stream).size]
        if made:
            own, other = rows(first[name]), rows(second[name][:, axes.channels.moved(partners)])
            costs = measure.between(own, other).ratios + _TIE * _unlikeness(own, other)
            for stream in made:
                _assign(partners, stream, _summed(costs, axes.units.entries(stream)))
    return partners


def tied(symmetries: Symmetries, first: Kernels, second: Kernels, measure: Measure, partners: np.ndarray) -> np.ndarray:
    """The partner (count,) of each place, by coordinate descent over streams from given partners.

    Each step matches one stream with the greatest sum of likenesses over all layers that make or read it, as Git
    Re-Basin does (Ainsworth et al. 2023, arXiv 2209.04836). It counts if the mean distance of layers decreases.
    """

    def distances(partners: np.ndarray, names: Sequence[str]) -> dict[str, float]:
        parts = (
            measure.paired(rows(first[name]), rows(moved(second[name], name, symmetries, partners))) for name in names
        )
        return {name: float(part.ratios.mean()) for name, part in zip(names, parts, strict=True)}

    current = distances(partners, list(symmetries.layers))
    for _ in range(_MOST_SWEEPS):
        before = sum(current.values())
        for stream in symmetries.streams:
            candidate = partners.copy()
            _assign(candidate, stream, -likeness(symmetries, first, second, measure, partners, stream))
            changed = distances(candidate, symmetries.touched(stream))
            if sum(changed.values()) < sum(current[name] for name in changed) - _TIE:
                partners, current = candidate, current | changed
        if sum(current.values()) >= before:
            break
    return partners


def likeness(
    symmetries: Symmetries, first: Kernels, second: Kernels, measure: Measure, partners: np.ndarray, stream: np.ndarray
) -> np.ndarray:
    """The likeness (places, places) of the units of a stream, if all others are permuted by their partners."""
    total = np.zeros((len(stream), len(stream)))
    for name in symmetries.touched(stream):
        units, channels = symmetries.layers[name]
        own, other = first[name], second[name]
        if (made := units.entries(stream)).size:
            total += _summed(measure.likeness(rows(own), rows(other[:, channels.moved(partners)])), made)
        if (read := channels.entries(stream)).size:
            sides = (rows(side.swapaxes(0, 1)) for side in (own, other[units.moved(partners)]))
            total += _summed(measure.likeness(*sides), read)
    return total


def _summed(values: np.ndarray, entries: np.ndarray) -> np.ndarray:
    """The sums (places, places) of values of pairs of entries, over the repetitions of both places."""
    return sum((values[np.ix_(own, own)] for own in entries.T), start=np.zeros((len(entries), len(entries))))


def _assign(partners: np.ndarray, stream: np.ndarray, costs: np.ndarray) -> None:
    """Set the partners of a stream to the matching with the least sum of costs."""
    costs = costs + _IDENTITY
    costs[np.diag_indices_from(costs)] -= _IDENTITY
    partners[stream] = stream[linear_sum_assignment(costs)[1]]


def _unlikeness(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Squared distances of all pairs of rows, divided by the sum of their squares."""
    squares = (first**2).sum(1)[:, None] + (second**2).sum(1)
    return np.where(squares > 0, 1 - 2 * (first @ second.T) / np.where(squares > 0, squares, 1), 0)
