"""Patterns of kernels: which cells have a weight, as a number, and the most common ones.

Pattern = sum of 2^i over the cells i with a weight, in row-major order.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from Experiments.comparison.structure.chance import pattern_probability

MOST_CELLS = 62
"""Cells of the largest kernels whose patterns are numbers of 64 bits."""

MOST_COMMON = 20


def pattern_ids(signs: np.ndarray) -> np.ndarray:
    """The patterns (...) of planes (..., height, width)."""
    cells = signs.reshape(*signs.shape[:-2], -1) != 0
    return cells @ (1 << np.arange(cells.shape[-1], dtype=np.int64))


def all_patterns(height: int, width: int) -> np.ndarray:
    """Every pattern as a plane, bool (2^cells, height, width), in the order of their numbers."""
    return _cells(np.arange(2 ** (height * width)), height * width).reshape(-1, height, width)


def common_patterns(layers: Sequence[np.ndarray], most: int = MOST_COMMON) -> pd.DataFrame:
    """The most common patterns of convolutions (units, channels, height, width), for each size of kernels.

    Columns: `height`, `width`, `rank` (from 1; patterns of equal count in the order of their numbers), `pattern`,
    `count`, `share` of the kernels of this size, and `expected`, the count if the weights of each layer are at random
    positions. Kernels of one cell, and of more than 62, are left out.
    """
    layers = [signs for signs in layers if 1 < signs.shape[2] * signs.shape[3] <= MOST_CELLS]
    shapes = dict.fromkeys(signs.shape[2:] for signs in layers)
    tables = [_common([signs for signs in layers if signs.shape[2:] == shape], most) for shape in shapes]
    columns = ["height", "width", "rank", "pattern", "count", "share", "expected"]
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=columns)


def _common(layers: Sequence[np.ndarray], most: int) -> pd.DataFrame:
    ids = np.concatenate([pattern_ids(signs).ravel() for signs in layers])
    patterns, counts = np.unique(ids, return_counts=True)
    order = np.argsort(-counts, kind="stable")[:most]
    patterns, counts = patterns[order], counts[order]
    height, width = layers[0].shape[2:]
    weights = _cells(patterns, height * width).sum(1)
    expected = [signs[..., 0, 0].size * pattern_probability(signs, weights, height * width) for signs in layers]
    return pd.DataFrame({
        "height": height, "width": width, "rank": range(1, len(order) + 1), "pattern": patterns, "count": counts,
        "share": counts / len(ids), "expected": np.sum(expected, axis=0),
    })  # fmt: skip


def _cells(patterns: np.ndarray, count: int) -> np.ndarray:
    return (patterns[:, None] >> np.arange(count) & 1).astype(bool)
