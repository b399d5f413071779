"""Network distances as the thesis on sparse networks computed them, kept to reproduce its numbers.

They read the mask itself, whether its weights are effective or not. Units are matched by `ned`, outputs too. Dense
networks do not propagate the matching to the layer that reads the units, and convolutional ones propagate it from each
layer to the next except for the last. The distance of a layer is that of its whole mask (`micro`), and it is not
symmetrised. Shortcuts, the convolutions of a single position in a network with larger ones, are left out.
"""

from collections.abc import Sequence

import numpy as np
from scipy.optimize import linear_sum_assignment

from Experiments.comparison.distances.alignment import Kernels, rows
from Experiments.comparison.distances.measures import MEASURES
from Experiments.comparison.networks import Layer


def thesis_kernels(layers: Sequence[Layer]) -> Kernels:
    """The masks (units, channels, positions) of the layers that the thesis compared, as 0 and 1."""
    has_windows = any(layer.is_convolution and layer.kept[0, 0].size > 1 for layer in layers)
    compared = (layer for layer in layers if not (has_windows and layer.is_convolution and layer.kept[0, 0].size == 1))
    return {layer.name: layer.kept.reshape(*layer.kept.shape[:2], -1).astype(np.float64) for layer in compared}


def thesis_distances(first: Kernels, second: Kernels) -> np.ndarray:
    """The distance (layers,) of each layer."""
    is_convolutional = any(kernel.shape[2] > 1 for kernel in first.values())
    names, distances = list(first), []
    matching = np.arange(0)
    for name in names:
        own, other = first[name], second[name]
        if is_convolutional and len(matching) == other.shape[1] and name != names[-1]:
            other = other[:, matching]
        matching = linear_sum_assignment(MEASURES["ned"].between(rows(own), rows(other)).ratios)[1]
        parts = MEASURES["ned"].paired(rows(own), rows(other[matching]))
        distances.append(parts.different.sum() / max(parts.most.sum(), 1))
    return np.array(distances)
