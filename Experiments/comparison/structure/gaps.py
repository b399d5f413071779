"""Gaps between the weights of a unit, and the positions of weights.

A gap is the difference of two consecutive non-zero positions in the flattened inputs of a unit, 1 for neighbours.
"""

from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.spatial import KDTree

from Experiments.comparison.structure.clusters import mean_by
from Experiments.comparison.structure.signs import flat

BINS = 50
"""Number of bins of positions, for units with as many inputs."""


class Gaps(NamedTuple):
    """Statistics of the gaps of each unit, arrays (units,): NaN without a weight, 0 with a single one."""

    mean: np.ndarray
    median: np.ndarray
    least: np.ndarray


def gaps(rows: np.ndarray) -> Gaps:
    """The gaps of rows (units, inputs)."""
    unit, position = np.nonzero(rows)
    is_same = unit[1:] == unit[:-1]
    found = pd.Series(np.diff(position)[is_same]).groupby(unit[1:][is_same]).agg(["mean", "median", "min"])
    weights = np.bincount(unit, minlength=len(rows))
    table = found.astype(float).reindex(range(len(rows)))
    table[weights == 1] = 0.0
    return Gaps(*table.to_numpy().T)


def nearest(signs: np.ndarray) -> np.ndarray:
    """The mean Euclidean distance of weights to the nearest other one of their plane, (units,) for (units, ..., h, w).

    Weights that are alone in their plane do not count; NaN for a unit without others.
    """
    present = signs.reshape(-1, *signs.shape[-2:]) != 0
    cells = np.argwhere(present)
    # Most weights of dense layers have a weight beside them; a tree for the others keeps planes far apart.
    is_apart = ~_has_neighbour(present)[present]
    distance, far = np.ones(len(cells)), 2.0 * sum(present.shape[1:])
    if is_apart.any():
        places = cells * [far, 1.0, 1.0]
        distance[is_apart] = KDTree(places).query(places[is_apart], k=2)[0][:, 1]
    is_in_plane = distance < far
    per_unit = len(present) // len(signs)
    return mean_by(cells[is_in_plane, 0] // per_unit, distance[is_in_plane], len(signs))


def _has_neighbour(present: np.ndarray) -> np.ndarray:
    """Whether a weight is above, below, left or right of each cell."""
    padded = np.pad(present, ((0, 0), (1, 1), (1, 1)))
    above, below = padded[:, :-2, 1:-1], padded[:, 2:, 1:-1]
    return above | below | padded[:, 1:-1, :-2] | padded[:, 1:-1, 2:]


def position_histogram(signs: np.ndarray, bins: int = BINS) -> pd.DataFrame:
    """The number of weights by their position among the inputs of their unit, as a share of the inputs.

    Columns: `low` and `high` (ends of a bin), `count`, and `expected`, if the weights of the layer are at random
    positions. Each bin has as many inputs as the next, or one more.
    """
    per_input = np.count_nonzero(flat(signs), axis=0)
    edges = np.linspace(0, len(per_input), min(bins, len(per_input)) + 1).round().astype(int)
    counts, inputs = np.add.reduceat(per_input, edges[:-1]), np.diff(edges)
    return pd.DataFrame({
        "low": edges[:-1] / len(per_input), "high": edges[1:] / len(per_input), "count": counts,
        "expected": per_input.sum() * inputs / len(per_input),
    })  # fmt: skip
