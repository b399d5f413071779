"""Matching of units by the correlations of their activations (Li et al. 2016, Convergent Learning).

A one-to-one matching maximises the sum of correlations over permutations. A semi-matching gives each unit the partner
of highest correlation, whom several may share, so that its mean is never lower.
"""

from typing import NamedTuple

import numpy as np
from scipy.optimize import linear_sum_assignment


class MatchScores(NamedTuple):
    """Mean correlation of matched units; NaN if no two units can be matched."""

    one_to_one: float
    semi: float
    live_one_to_one: float
    """The score if only live units are matched, among each other."""
    live_semi: float


def one_to_one(correlation: np.ndarray, within: bool = False) -> np.ndarray:
    """The partner of each row in the one-to-one matching; -1 for rows without one.

    `within` forbids the diagonal, for a network that is compared with itself.
    """
    partners = np.full(len(correlation), -1)
    allowed = _allowed(correlation, within)
    if np.isfinite(allowed).any():
        rows, columns = linear_sum_assignment(allowed, maximize=True)
        partners[rows] = columns
    return partners


def semi(correlation: np.ndarray, within: bool = False) -> np.ndarray:
    """The column of highest correlation of each row, the first of equal ones; -1 for rows without one."""
    allowed = _allowed(correlation, within)
    if not allowed.size:
        return np.full(len(correlation), -1)
    return np.where(np.isfinite(allowed.max(1)), allowed.argmax(1), -1)


def matched(correlation: np.ndarray, partners: np.ndarray) -> np.ndarray:
    """The correlation of each row with its partner; NaN without one."""
    if not correlation.size:
        return np.full(len(correlation), np.nan)
    return np.where(partners >= 0, correlation[np.arange(len(partners)), partners], np.nan)


def match_scores(correlation: np.ndarray, live_rows: np.ndarray, live_columns: np.ndarray, within: bool) -> MatchScores:
    """Scores over all units, and over those that are live in their network."""
    live = correlation[np.ix_(live_rows, live_columns)]
    return MatchScores(*(
        _mean(matched(matrix, match(matrix, within))) for matrix in (correlation, live) for match in (one_to_one, semi)
    ))  # fmt: skip


def _mean(values: np.ndarray) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else float("nan")


def _allowed(correlation: np.ndarray, within: bool) -> np.ndarray:
    if not within:
        return correlation
    allowed = correlation.copy()
    np.fill_diagonal(allowed, -np.inf)
    return allowed
