"""Overlap of masks without alignment: intersection over union, beside that of masks at random positions.

The intersection of two random masks with a and b of n entries has the hypergeometric distribution. Its expectation is
exact for the intersection, a b / n; that of intersection over union is the sum over all intersections within twelve
standard deviations of it, so that less than 1e-12 of the distribution is left out.
"""

import math
from typing import NamedTuple

import numpy as np
from scipy.stats import hypergeom

_DEVIATIONS = 12


class Overlap(NamedTuple):
    """Intersection over union of two masks, 1 if both are empty, and its mean and deviation by chance."""

    iou: float
    chance: float
    chance_std: float


def overlap(first: np.ndarray, second: np.ndarray) -> Overlap:
    """The overlap of two bool masks of one shape."""
    sizes = int(first.sum()), int(second.sum())
    return Overlap(_iou(int((first & second).sum()), *sizes), *chance_overlap(first.size, *sizes))


def chance_overlap(entries: int, first: int, second: int) -> tuple[float, float]:
    """Mean and standard deviation of the intersection over union of two random masks of `first` and `second` entries.

    Each mask of its size is equally likely, and the two are independent.
    """
    if not first or not second:
        return _iou(0, first, second), 0.0
    mean = first * second / entries
    variance = mean * (1 - first / entries) * (entries - second) / max(entries - 1, 1)
    reach = _DEVIATIONS * math.sqrt(variance) + 1
    lowest = max(first + second - entries, math.floor(mean - reach), 0)
    common = np.arange(lowest, min(first, second, math.ceil(mean + reach)) + 1)
    chances = hypergeom.pmf(common, entries, first, second)
    chances /= chances.sum()
    values = common / (first + second - common)
    expected = float(chances @ values)
    return expected, math.sqrt(float(chances @ (values - expected) ** 2))


def _iou(common: int, first: int, second: int) -> float:
    union = first + second - common
    return common / union if union else 1.0
