"""Signs of weights: the form in which layers are analysed for structure.

An int8 array (units, planes, height, width): 1 for a weight, -1 for a negative one, and 0 where the mask has none. A
plane is what lies side by side: a kernel, a channel of an image for a dense layer that reads the image, and otherwise
all inputs of a unit in one row.
"""

import math

import numpy as np

from Experiments.comparison.networks import Layer, Network
from Layers import prunable

_SHORTCUTS = {"skip", "shortcut", "downsample"}
"""Names of modules that connect the ends of a residual block."""


def effective_signs(network: Network, shortcuts: bool = True) -> dict[str, np.ndarray]:
    """The signs of the effective weights by layer; `shortcuts`: with the layers of shortcuts."""
    return {
        layer.name: _planes(network, place, np.where(layer.effective, _signs(layer.weights), 0))
        for place, layer in _chosen(network, shortcuts)
    }


def kept_signs(network: Network, shortcuts: bool = True) -> dict[str, np.ndarray]:
    """The signs of all weights that the mask keeps, effective or not, by layer."""
    weights = {name.rpartition(".")[0]: weight for name, (weight, _) in prunable(network.model).items()
               if weight.dim() > 1}  # fmt: skip
    return {
        layer.name: _planes(network, place, np.where(layer.kept, _signs(weights[layer.name].detach().cpu().numpy()), 0))
        for place, layer in _chosen(network, shortcuts)
    }


def is_shortcut(name: str) -> bool:
    """Whether the path of a layer leads through a shortcut."""
    return not _SHORTCUTS.isdisjoint(name.split("."))


def flat(signs: np.ndarray) -> np.ndarray:
    """The signs (units, inputs) without the shape of planes."""
    return signs.reshape(len(signs), -1)


def _chosen(network: Network, shortcuts: bool) -> list[tuple[int, Layer]]:
    return [(place, layer) for place, layer in enumerate(network.layers) if shortcuts or not is_shortcut(layer.name)]


def _signs(weights: np.ndarray) -> np.ndarray:
    return np.where(weights < 0, -1, 1).astype(np.int8)


def _planes(network: Network, place: int, signs: np.ndarray) -> np.ndarray:
    if signs.ndim == 4:
        return signs
    shape = network.input_shape
    is_image = place == 0 and len(shape) == 3 and signs.shape[1] == math.prod(shape)
    return signs.reshape(len(signs), *(shape if is_image else (1, 1, -1)))
