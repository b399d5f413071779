"""Statistics per position: weights of each cell of kernels, of each input, and cells that have weights together.

"Signs in the Lottery" (submitted to ICLR 2023) counts them in the first convolution of winning tickets.
"""

import numpy as np
import pandas as pd

from Experiments.comparison.structure.chance import count_probability

_MOST_CELLS = 25
"""Cells of the largest kernels with a table of pairs of cells."""


def input_counts(signs: np.ndarray) -> pd.DataFrame:
    """Weights of all units at each input, for signs (units, channels, height, width).

    Columns: `channel`, `row`, `column`, `positive` and `negative` (numbers of weights).
    """
    channel, row, column = np.indices(signs.shape[1:]).reshape(3, -1)
    return pd.DataFrame({"channel": channel, "row": row, "column": column} | _counts(signs.reshape(len(signs), -1)))


def kernel_counts(signs: np.ndarray) -> pd.DataFrame:
    """Weights of all kernels at each cell, without regard to channels.

    Columns: `row`, `column`, `positive`, `negative`, and `expected`, the number of weights if those of the layer are at
    random positions.
    """
    row, column = np.indices(signs.shape[2:]).reshape(2, -1)
    expected = np.count_nonzero(signs) / len(row)
    counts = _counts(signs.reshape(-1, len(row)))
    return pd.DataFrame({"row": row, "column": column} | counts | {"expected": expected})


def co_occurrence(signs: np.ndarray) -> pd.DataFrame:
    """How many kernels have weights at both of two cells, by the signs of these; for kernels of 25 cells or fewer.

    Columns: `row`, `column` and `other_row`, `other_column` (all ordered pairs of cells), and `positive_positive`,
    `positive_negative`, `negative_positive`, `negative_negative`. A cell with itself has the number of its weights.
    """
    height, width = signs.shape[2:]
    if height * width > _MOST_CELLS:
        return pd.DataFrame()
    kernels = signs.reshape(-1, height * width)
    # Products of doubles are exact for counts, and use the library of linear algebra.
    sides = {"positive": (kernels > 0).astype(float), "negative": (kernels < 0).astype(float)}
    row, column, other_row, other_column = np.indices((height, width, height, width)).reshape(4, -1)
    places = {"row": row, "column": column, "other_row": other_row, "other_column": other_column}
    return pd.DataFrame(places | {
        f"{one}_{other}": (sides[one].T @ sides[other]).astype(np.int64).ravel() for one in sides for other in sides
    })  # fmt: skip


def weight_counts(signs: np.ndarray) -> pd.DataFrame:
    """How many units, and how many kernels of units with several, have each number of weights.

    Columns: `part` (`unit` or `kernel`), `weights`, `count`, and `expected`, the count if the weights of the layer are
    at random positions. Numbers that no part has are left out unless 0.5 or more parts are expected to have them.
    """
    per_kernel = np.count_nonzero(signs, axis=(2, 3))
    parts = {"unit": (per_kernel.sum(1), signs[0].size)}
    if signs.shape[1] > 1:
        parts["kernel"] = per_kernel.ravel(), signs[0, 0].size
    return pd.concat([_weight_counts(signs, name, *part) for name, part in parts.items()], ignore_index=True)


def _weight_counts(signs: np.ndarray, part: str, weights: np.ndarray, cells: int) -> pd.DataFrame:
    count = np.bincount(weights, minlength=cells + 1)
    expected = len(weights) * count_probability(signs, cells, np.arange(cells + 1))
    table = pd.DataFrame({"part": part, "weights": range(cells + 1), "count": count, "expected": expected})
    return table[(count > 0) | (expected >= 0.5)]


def _counts(cells: np.ndarray) -> dict[str, np.ndarray]:
    return {"positive": (cells > 0).sum(0), "negative": (cells < 0).sum(0)}
