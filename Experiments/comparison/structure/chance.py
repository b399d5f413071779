"""Exact probabilities in a layer whose weights are at random positions.

The layer keeps its number of weights, and all arrangements are equally likely, so that counts are hypergeometric.
"""

import math

import numpy as np
from scipy import stats
from scipy.special import comb


def count_probability(signs: np.ndarray, cells: int, weights: np.ndarray | int) -> np.ndarray:
    """The probability that a set of cells of the layer has each of these numbers of weights."""
    return stats.hypergeom.pmf(weights, signs.size, np.count_nonzero(signs), cells)


def pattern_probability(signs: np.ndarray, weights: np.ndarray | int, cells: int) -> np.ndarray:
    """The probability of one pattern of a set of cells, by its number of weights."""
    return count_probability(signs, cells, weights) / comb(cells, weights)


def same_sign_probability(weights: int, positive: int) -> float:
    """The probability that two weights of the layer have the same sign; NaN for fewer than two weights."""
    same = math.comb(positive, 2) + math.comb(weights - positive, 2)
    return same / math.comb(weights, 2) if weights > 1 else np.nan


def neighbour_probability(height: int, width: int, neighbours: int) -> float:
    """The probability that two cells of a plane, drawn without replacement, are neighbours: 1/3 for 3x3 and 4."""
    pairs = height * (width - 1) + (height - 1) * width
    if neighbours == 8:
        pairs += 2 * (height - 1) * (width - 1)
    return pairs / math.comb(height * width, 2) if height * width > 1 else np.nan
