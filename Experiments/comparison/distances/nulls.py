"""Random null: networks with the weights of a given one at random positions, layer by layer.

Each layer keeps its number of effective weights, its values and its share of signs, so that one draw is the null of all
measures: what is left of a distance is what density, signs and values alone give.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from Experiments.comparison.distances.alignment import Kernels

Distances = Callable[[Kernels, Kernels], np.ndarray]
"""Distances of two networks, in any shape."""


class WithNull(NamedTuple):
    """Distances, and the mean and standard deviation of those of random networks; NaN if too few were drawn."""

    distance: np.ndarray
    null_mean: np.ndarray
    null_std: np.ndarray


def shuffled(kernels: Kernels, generator: np.random.Generator) -> Kernels:
    """The kernels with the entries of each layer in random order."""
    return {name: generator.permutation(kernel.ravel()).reshape(kernel.shape) for name, kernel in kernels.items()}


def with_null(
    distances: Distances, first: Kernels, second: Kernels, nulls: int, generator: np.random.Generator
) -> WithNull:
    """The distances of two networks, and those of `nulls` pairs of shuffled ones."""
    own = distances(first, second)
    draws = np.array([distances(shuffled(first, generator), shuffled(second, generator)) for _ in range(nulls)])
    unknown = np.full(own.shape, np.nan)
    return WithNull(own, draws.mean(0) if nulls else unknown, draws.std(0, ddof=1) if nulls > 1 else unknown)
