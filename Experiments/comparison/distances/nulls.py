"""Random null: networks with the weights of a given one at random positions, layer by layer.

In the null model `layer`, each layer keeps its number of effective weights, its values and its share of signs, so that
one draw is the null of all measures: what is left of a distance is what density, signs and values alone give. Other
null models keep more, which tells what else explains a distance.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from Experiments.comparison.distances.alignment import Kernels
from Experiments.comparison.null_models import null_model

Distances = Callable[[Kernels, Kernels], np.ndarray]
"""Distances of two networks, in any shape."""


class WithNull(NamedTuple):
    """Distances, and the mean and standard deviation of those of random networks; NaN if too few were drawn."""

    distance: np.ndarray
    null_mean: np.ndarray
    null_std: np.ndarray


def shuffled(kernels: Kernels, generator: np.random.Generator, model: str = "layer") -> Kernels:
    """The kernels as a null model moves the entries of each layer; raises `UserError` for an unknown model."""
    move = null_model(model)
    return {name: move(kernel, generator) for name, kernel in kernels.items()}


def with_null(
    distances: Distances,
    first: Kernels,
    second: Kernels,
    nulls: int,
    generator: np.random.Generator,
    model: str = "layer",
) -> WithNull:
    """The distances of two networks, and those of `nulls` pairs of shuffled ones."""
    own = distances(first, second)
    draws = np.array([
        distances(*(shuffled(kernels, generator, model) for kernels in (first, second))) for _ in range(nulls)
    ])  # fmt: skip
    unknown = np.full(own.shape, np.nan)
    return WithNull(own, draws.mean(0) if nulls else unknown, draws.std(0, ddof=1) if nulls > 1 else unknown)
