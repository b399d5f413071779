"""Distances of two networks by layer: aligned in both directions, and averaged."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from Experiments.comparison.choices import ALIGNMENTS
from Experiments.comparison.distances.alignment import Kernels, first_layer_first, moved, rows, tied
from Experiments.comparison.distances.local_search import local_search
from Experiments.comparison.distances.measures import Measure, reductions
from Experiments.comparison.distances.symmetries import Symmetries, no_symmetries, symmetries_of
from Experiments.comparison.networks import Network
from Utils.errors import unknown


@dataclass(frozen=True)
class Alignment:
    """A way to align two networks of one shape."""

    kind: str
    symmetries: Symmetries
    steps: int = 0
    """Number of swaps that a local search tries afterwards."""

    def partners(self, first: Kernels, second: Kernels, measure: Measure, generator: np.random.Generator) -> np.ndarray:
        """The partner (count,) of each place, which aligns the second network to the first."""
        partners = self.symmetries.identity
        if self.kind in ("first-layer-first", "tied"):
            partners = first_layer_first(self.symmetries, first, second, measure)
        if self.kind == "tied":
            partners = tied(self.symmetries, first, second, measure, partners)
        return local_search(self.symmetries, first, second, measure, partners, self.steps, generator)

    def aligned(self, second: Kernels, partners: np.ndarray) -> Kernels:
        """The kernels of the second network after permutation."""
        return {name: moved(kernel, name, self.symmetries, partners) for name, kernel in second.items()}


def alignment_of(networks: Sequence[Network], kind: str = "auto", steps: int = 0) -> Alignment:
    """The alignment of networks of one shape.

    Raises `UserError` for an unknown kind, and for a network whose units cannot be permuted.
    """
    if kind not in ALIGNMENTS:
        raise unknown("alignment", kind, ALIGNMENTS)
    network = networks[0]
    if kind == "none" and not steps:
        return Alignment(kind, no_symmetries(network.layers))
    symmetries = symmetries_of(network.model, network.input_shape, network.layers)
    if kind == "auto":
        kind = "tied" if symmetries.is_tied else "first-layer-first"
    return Alignment(kind, symmetries, steps)


def distances(
    alignment: Alignment, first: Kernels, second: Kernels, measure: Measure, generator: np.random.Generator
) -> np.ndarray:
    """The distance (layers, reductions) of each layer, in the order of `REDUCTIONS`: the mean of both directions.

    The directions differ where several alignments are equally good.
    """
    both = []
    for own, other in ((first, second), (second, first)):
        aligned = alignment.aligned(other, alignment.partners(own, other, measure, generator))
        both.append([reductions(measure, rows(own[name]), rows(aligned[name])) for name in own])
    return np.mean(both, axis=0)
