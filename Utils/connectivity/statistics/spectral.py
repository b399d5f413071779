"""Spectral statistics: singular values, spectral gaps and Ramanujan bounds of each layer as a bipartite graph.

The graph of a layer joins its inputs to its units. Its matrix has a row per unit and a column per input, for a
convolution per input channel and tap of the kernel (kernel.reshape(units, -1)), as in Hoang et al. 2023 ("Revisiting
pruning at initialization through the lens of Ramanujan graph"). Each group of a grouped convolution shares columns.
"""

import math
from collections.abc import Mapping

import numpy as np
import pandas as pd
import scipy.sparse
from scipy.sparse.linalg import svds
from torch import Tensor, nn

from Layers import require_prunable
from Utils.connectivity.effective import masks_or_own

SPECTRAL_COLUMNS = (
    "layer", "sigma1", "sigma2", "spectral_gap", "weighted_sigma1", "weighted_sigma2", "weighted_spectral_gap",
    "difference_of_bound", "imdb",
)  # fmt: skip

_LEAST = 3
"""Mean degree on both sides of a regular subgraph that IMDB requires at least."""

_DENSE_COST = 5e7
"""Multiplications of a full singular value decomposition up to which it is faster than an iteration."""

_SPARSE = 0.05
"""Density up to which products with a sparse matrix are faster than with a dense one."""


def spectral_table(model: nn.Module, masks: Mapping[str, Tensor] | None = None) -> pd.DataFrame:
    """`SPECTRAL_COLUMNS`, with one row per masked kernel; masks are the model's own by default.

    `sigma1` and `sigma2` are the two largest singular values of the mask as a 0/1 matrix, the two largest positive
    eigenvalues of the graph's adjacency matrix; the spectral gap is their difference. The weighted ones are those of
    |w| of the kept weights (Hoang et al. 2023, "Don't just prune by magnitude"). A layer without a kept weight has
    singular values of 0, and no value (NaN) in the last two columns; see `difference_of_bound` and `imdb`.
    """
    kept = masks_or_own(model, masks)
    rows = []
    for name, (weight, _) in require_prunable(model).items():
        if weight.dim() < 2:
            continue
        mask = kept[name].reshape(len(weight), -1).double().cpu().numpy()
        weighted = mask * weight.detach().reshape(mask.shape).abs().double().cpu().numpy()
        pairs = [largest_singular_values(matrix) for matrix in (mask, weighted)]
        values = [number for first, second in pairs for number in (first, second, first - second)]
        rows.append((name, *values, _difference(mask, pairs[0][1]), imdb(mask)))
    return pd.DataFrame(rows, columns=list(SPECTRAL_COLUMNS))


def spectral_means(table: pd.DataFrame) -> dict[str, float]:
    """The mean over layers of each column of `spectral_table`; layers without a value are left out."""
    return {f"mean_{name}": float(table[name].mean()) for name in SPECTRAL_COLUMNS[1:]}


def largest_singular_values(matrix: np.ndarray) -> tuple[float, float]:
    """The two largest singular values of a matrix, float64, the second 0 if there is one only."""
    matrix = _without_zeros(matrix)
    if min(matrix.shape) < 2:
        return float(np.linalg.norm(matrix)), 0.0
    if math.prod(matrix.shape) * min(matrix.shape) <= _DENSE_COST or min(matrix.shape) < 4:
        first, second = np.linalg.svd(matrix, compute_uv=False)[:2]
    else:
        is_sparse = np.count_nonzero(matrix) <= _SPARSE * matrix.size
        operator = scipy.sparse.csr_array(matrix) if is_sparse else matrix
        start = np.random.default_rng(0).random(min(matrix.shape))
        second, first = sorted(svds(operator, 2, v0=start, return_singular_vectors=False))
    return float(first), float(second)


def difference_of_bound(mask: np.ndarray) -> float:
    """sqrt(d_L - 1) + sqrt(d_R - 1) - sigma2, where d_L and d_R are the mean degrees of connected inputs and units.

    It is not negative if and only if a biregular graph is a Ramanujan graph (Hoang et al. 2023). NaN without an edge.
    """
    return _difference(mask, largest_singular_values(mask)[1])


def imdb(mask: np.ndarray) -> float:
    """Iterative mean difference of bound (Hoang et al. 2023): the mean of `difference_of_bound` over subgraphs.

    Each subgraph has all inputs of one degree and their edges. As in the code of the paper, those with a mean degree
    below 3 on either side do not count, so neither does one of fewer than 3 inputs. NaN if there is none left.
    """
    degrees = mask.astype(bool).sum(0)
    values = []
    for degree in np.unique(degrees[degrees >= _LEAST]):
        subgraph = _without_zeros(mask[:, degrees == degree])
        if min(_mean_degrees(subgraph)) >= _LEAST:
            values.append(difference_of_bound(subgraph))
    return float(np.mean(values)) if values else math.nan


def _difference(mask: np.ndarray, second: float) -> float:
    """The difference of bound of a mask with a known second singular value."""
    if not mask.any():
        return math.nan
    return sum(math.sqrt(degree - 1) for degree in _mean_degrees(_without_zeros(mask))) - second


def _mean_degrees(mask: np.ndarray) -> tuple[float, float]:
    """Mean degrees of the columns and of the rows of a 0/1 matrix."""
    edges = np.count_nonzero(mask)
    return edges / mask.shape[1], edges / mask.shape[0]


def _without_zeros(matrix: np.ndarray) -> np.ndarray:
    """The matrix without the rows and columns that hold only zeros, which leave its singular values the same."""
    is_used = matrix != 0
    return matrix[is_used.any(1)][:, is_used.any(0)]
