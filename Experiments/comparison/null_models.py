"""Null models: random masks that keep one property of a layer, and lose all else.

Each draws from all arrangements with the property at equal probability. Comparing a statistic, or a distance, with that
of each null model says which property explains it. Signs move with their weights.
"""

from collections.abc import Callable

import numpy as np

from Experiments.comparison.choices import NULL_MODELS as NAMES
from Utils.errors import unknown

NullModel = Callable[[np.ndarray, np.random.Generator], np.ndarray]
"""An array like the given one (units, planes, ...)."""


def layer_null(weights: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Entries move within the layer: its density and its share of positive weights stay."""
    return generator.permutation(weights.ravel()).reshape(weights.shape)


def unit_null(weights: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Entries move within each unit: the number of weights of each unit stays, and so its deviation over units."""
    return generator.permuted(weights.reshape(len(weights), -1), axis=1).reshape(weights.shape)


def position_null(weights: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Entries move from unit to unit at each input: the number of weights at each input stays."""
    return generator.permuted(weights, axis=0)


def kernel_null(weights: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Whole planes move within the layer: all statistics within kernels stay, such as co-occurrence and graph scores.

    In a dense layer, planes are the rows of its units, or their channels of the image.
    """
    kernels = weights.reshape(-1, *weights.shape[2:])
    return generator.permutation(kernels, axis=0).reshape(weights.shape)


def sign_null(weights: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Weights move among the positions of weights: the mask and the share of positive weights stay."""
    shuffled = np.zeros_like(weights)
    shuffled[weights != 0] = generator.permutation(weights[weights != 0])
    return shuffled


def fair_sign_null(weights: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Each weight has a random sign, both equally likely: the mask and absolute values stay, the share of signs not."""
    return weights * generator.choice(np.array([-1, 1], dtype=weights.dtype), weights.shape)


NULL_MODELS: dict[str, NullModel] = {
    "layer": layer_null,
    "unit": unit_null,
    "position": position_null,
    "kernel": kernel_null,
    "sign": sign_null,
    "fair-sign": fair_sign_null,
}


def null_model(name: str) -> NullModel:
    """A null model by name; raises `UserError` for an unknown one."""
    if name not in NAMES:
        raise unknown("null model", name, NAMES)
    return NULL_MODELS[name]
