"""Clusters: connected weights of a plane, and runs, the connected weights of a row."""

from typing import NamedTuple, cast

import numpy as np
from scipy import ndimage

NEIGHBOURS = {4: 1, 8: 2}
"""Number of neighbours of a cell, and the connectivity that `scipy.ndimage` calls so."""


class Clusters(NamedTuple):
    """Clusters in the order of the planes, and of their first cells in a plane; arrays (clusters,)."""

    place: np.ndarray
    """Number of the plane."""
    size: np.ndarray
    """Number of weights."""
    positive: np.ndarray
    """Number of positive weights."""

    @property
    def sign_ratio(self) -> np.ndarray:
        """Shares of positive weights."""
        return self.positive / self.size

    def where(self, chosen: np.ndarray) -> "Clusters":
        """The chosen clusters, by a mask (clusters,)."""
        return Clusters(self.place[chosen], self.size[chosen], self.positive[chosen])


def clusters(signs: np.ndarray, neighbours: int = 4) -> Clusters:
    """The maximal sets of connected weights in planes (..., height, width), which are numbered in memory order.

    A cell has the 4 neighbours that share an edge with it, or the 8 that share an edge or a corner.
    """
    planes = signs.reshape(-1, *signs.shape[-2:])
    structure = np.zeros((3, 3, 3), bool)
    structure[1] = ndimage.generate_binary_structure(2, NEIGHBOURS[neighbours])
    labels, count = cast(tuple[np.ndarray, int], ndimage.label(planes != 0, structure))
    cells = np.nonzero(planes)
    names = labels[cells] - 1
    place = np.empty(count, np.intp)
    place[names] = cells[0]
    size = np.bincount(names, minlength=count)
    return Clusters(place, size, np.bincount(names[planes[cells] > 0], minlength=count))


def runs(rows: np.ndarray) -> Clusters:
    """The maximal runs of consecutive weights in rows (units, inputs); `place` is the unit."""
    return clusters(rows[:, None, :])


def mean_by(place: np.ndarray, values: np.ndarray, count: int) -> np.ndarray:
    """Means (count,) of the values at each place, NaN where there is none."""
    numbers = np.bincount(place, minlength=count)
    with np.errstate(invalid="ignore"):
        return np.bincount(place, values, count) / numbers
