"""Distances of units by their incoming weights: ratios of what differs to the most that can differ, from 0 to 1.

`ned` is the normalised edit distance of the sets of incoming effective weights, which equals their Jaccard distance
(Liu et al. 2020, arXiv 2006.14085). `sasd` is the structure and sign distance: it counts a shared weight as different
if its sign differs. `maed` is the sum of absolute errors, divided by that of the worst order of the same weights.
Two units without weights have distance 0. Weights are float64 (units, inputs), 0 where not effective.
"""

from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
from scipy.spatial.distance import cdist

from Utils.errors import unknown


class Parts(NamedTuple):
    """Numerators and denominators of distances."""

    different: np.ndarray
    most: np.ndarray

    @property
    def ratios(self) -> np.ndarray:
        """The distances, float64; 0 where nothing can differ."""
        return np.divide(self.different, self.most, out=np.zeros(self.most.shape), where=self.most > 0)


class Measure(Protocol):
    """A distance of units."""

    def between(self, first: np.ndarray, second: np.ndarray) -> Parts:
        """Parts (units of the first, units of the second) for all pairs."""
        ...

    def paired(self, first: np.ndarray, second: np.ndarray) -> Parts:
        """Parts (units,) for pairs of the same number."""
        ...

    def shares(self, first: np.ndarray, second: np.ndarray) -> Parts:
        """What some of the inputs contribute to the parts (units,) that depend on the order of inputs."""
        ...

    def likeness(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        """How alike all pairs of rows are: a sum over inputs, so that it can be summed over layers and axes."""
        ...


@dataclass(frozen=True)
class PositionDistance:
    """Jaccard distance of the positions of weights, or of the positions with their signs."""

    is_signed: bool

    def between(self, first: np.ndarray, second: np.ndarray) -> Parts:
        """As `Measure.between`, by products of matrices."""
        same, union = self._same_and_union(first, second)
        return Parts(union - same, union)

    def paired(self, first: np.ndarray, second: np.ndarray) -> Parts:
        """As `Measure.paired`."""
        first, second = self._codes(first), self._codes(second)
        return Parts(np.count_nonzero(first != second, 1), np.count_nonzero((first != 0) | (second != 0), 1))

    shares = paired

    def likeness(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        """The number of weights that agree, as a share of all."""
        total = np.count_nonzero(first) + np.count_nonzero(second)
        return self._same_and_union(first, second)[0] / max(total, 1)

    def _codes(self, weights: np.ndarray) -> np.ndarray:
        codes = np.sign(weights).astype(np.float32)
        return codes if self.is_signed else np.abs(codes)

    def _same_and_union(self, first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        first, second = self._codes(first), self._codes(second)
        # Counts are exact in float32 up to 2^24 inputs.
        both = np.abs(first) @ np.abs(second).T
        same = (both + first @ second.T) / 2 if self.is_signed else both
        sizes = [np.count_nonzero(codes, 1) for codes in (first, second)]
        return same.astype(np.float64), sizes[0][:, None] + sizes[1] - both.astype(np.float64)


class AbsoluteError:
    """Sum of absolute errors, divided by that of the weights in opposite orders, which is the largest of all orders."""

    def between(self, first: np.ndarray, second: np.ndarray) -> Parts:
        """As `Measure.between`."""
        return self._parts(cdist(first, second, "cityblock"), _worst(first, second))

    def paired(self, first: np.ndarray, second: np.ndarray) -> Parts:
        """As `Measure.paired`."""
        worst = np.abs(np.sort(first) - np.sort(second)[:, ::-1]).sum(1)
        return self._parts(np.abs(first - second).sum(1), worst)

    def shares(self, first: np.ndarray, second: np.ndarray) -> Parts:
        """As `Measure.shares`: the denominator does not depend on the order of inputs."""
        return Parts(np.abs(first - second).sum(1), np.zeros(len(first)))

    def likeness(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        """Minus the absolute errors, as shares of the sum of all absolute weights."""
        total = np.abs(first).sum() + np.abs(second).sum()
        return -cdist(first, second, "cityblock") / (total or 1.0)

    def _parts(self, different: np.ndarray, worst: np.ndarray) -> Parts:
        return Parts(np.minimum(different, worst), worst)  # rounding differs between the two sums


def _worst(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """The sums (units, units) of absolute errors of weights in opposite orders.

    While zeros are many, weights of one sign never meet in opposite orders, so that absolute values add up.
    """
    worst = np.abs(first).sum(1)[:, None] + np.abs(second).sum(1)
    counts = [[np.count_nonzero(side > 0, 1), np.count_nonzero(side < 0, 1)] for side in (first, second)]
    meeting = np.zeros(worst.shape, dtype=bool)
    for own, other in zip(*counts, strict=True):
        meeting |= own[:, None] + other > first.shape[1]
    rows = meeting.any(1)
    if rows.any():
        worst[rows] = cdist(np.sort(first[rows]), np.sort(second)[:, ::-1], "cityblock")
    return worst


MEASURES: dict[str, Measure] = {
    "ned": PositionDistance(is_signed=False),
    "sasd": PositionDistance(is_signed=True),
    "maed": AbsoluteError(),
}

REDUCTIONS = ("live", "macro", "micro")


def measure(name: str) -> Measure:
    """The measure of a name; raises `UserError` for an unknown one."""
    if name not in MEASURES:
        raise unknown("measure", name, MEASURES)
    return MEASURES[name]


def reductions(own: Measure, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """The distance of a layer (3,) from its aligned units, in the order of `REDUCTIONS`.

    `live`: mean over pairs in which a unit has a weight; `macro`: mean over all pairs; `micro`: sum of numerators over
    sum of denominators, so that a unit counts by its weights. A layer without weights in either network gives 0.
    """
    parts = own.paired(first, second)
    is_live = (first != 0).any(1) | (second != 0).any(1)
    ratios, most = parts.ratios, parts.most.sum()
    return np.array([
        ratios[is_live].mean() if is_live.any() else 0.0,
        ratios.mean(),
        parts.different.sum() / most if most > 0 else 0.0,
    ])  # fmt: skip
