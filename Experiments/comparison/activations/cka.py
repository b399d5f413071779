"""Linear centred kernel alignment (CKA): how alike two sets of features are, up to rotation and scale.

CKA = HSIC(K, L) / sqrt(HSIC(K, K) HSIC(L, L)) with the linear kernels K = XX' and L = YY' of features (samples, units).
Kornblith et al. (2019), Similarity of Neural Network Representations Revisited, use the biased HSIC. The estimate of
Song et al. (2012), Feature Selection via Dependence Maximization, is unbiased: unrelated features have a CKA near 0,
however few the samples. The features of a convolution are its channels; each position of each image is a sample.
"""

import numpy as np
import torch

from Experiments.comparison.activations.moments import Moments

_FEWEST = 4
"""Samples that the unbiased estimate needs."""


def streamed_cka(moments: Moments, unbiased: bool = False) -> np.ndarray:
    """CKA of every two networks, (networks, networks), from the moments of one layer.

    It is NaN where a network's features are constant, or where the unbiased HSIC of one with itself is not positive.
    """
    hsic = _unbiased_hsic(moments) if unbiased else _biased_hsic(moments)
    own = np.diag(hsic)
    scale = np.sqrt(np.where(own > 0, own, np.nan))
    return hsic / scale[:, None] / scale


def linear_cka(first: np.ndarray, second: np.ndarray, unbiased: bool = False) -> float:
    """CKA of two feature matrices, (samples, features) each, with the same samples in the same order."""
    moments = Moments([first.shape[1], second.shape[1]])
    moments.add([torch.as_tensor(first), torch.as_tensor(second)])
    return float(streamed_cka(moments, unbiased)[0, 1])


def _biased_hsic(moments: Moments) -> np.ndarray:
    """Squared norms of the products of centred features, |X'Y|^2; proportional to the biased HSIC."""
    live = np.where(moments.is_dead, 0.0, 1.0)
    squares = np.square(moments.products) * np.outer(live, live)
    starts = [units.start for units in moments.units]
    return np.add.reduceat(np.add.reduceat(squares, starts, 0), starts, 1)


def _unbiased_hsic(moments: Moments) -> np.ndarray:
    """The estimate of Song et al. times n (n - 3); with centred features, the rows of XX' sum to 0."""
    n = moments.count
    if n < _FEWEST:
        return np.full((len(moments.widths),) * 2, np.nan)
    sums, products = moments.squared_norms()
    return _biased_hsic(moments) - products * n / (n - 2) + np.outer(sums, sums) / ((n - 1) * (n - 2))
