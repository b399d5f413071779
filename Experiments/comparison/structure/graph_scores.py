"""Graph scores of kernels: how far the weights of a kernel hang together.

The weights of a plane are the nodes of a graph, and neighbours have an edge. The score is 0 if no weight has a
neighbour, as in an empty kernel and for a single weight; 1 if all weights are connected; and otherwise the share of
components with more than `cluster_size` weights.
"""

import numpy as np

from Experiments.comparison.structure.clusters import clusters


def graph_scores(signs: np.ndarray, neighbours: int = 4, cluster_size: int = 1) -> np.ndarray:
    """The scores (...) of planes (..., height, width), with 4 or 8 neighbours."""
    found, shape = clusters(signs, neighbours), signs.shape[:-2]
    count = int(np.prod(shape))
    components = np.bincount(found.place, minlength=count)
    large = np.bincount(found.place[found.size > cluster_size], minlength=count)
    is_scattered = np.bincount(found.place, found.size, count) == components
    scores = np.where(components == 1, 1.0, large / np.maximum(components, 1))
    return np.where(is_scattered, 0.0, scores).reshape(shape)


def unit_scores(signs: np.ndarray, neighbours: int = 4) -> tuple[np.ndarray, np.ndarray]:
    """Mean scores of the planes of each unit, and of its planes with weights: (units,) for (units, planes, ...).

    Empty planes score 0, so that the mean of all mostly follows the density. NaN for a unit without weights.
    """
    scores, is_filled = graph_scores(signs, neighbours), signs.any((-1, -2))
    with np.errstate(invalid="ignore"):
        return scores.mean(1), (scores * is_filled).sum(1) / is_filled.sum(1)
