"""Local search for an alignment: swaps of two units that are kept if they bring two networks closer."""

import numpy as np

from Experiments.comparison.distances.alignment import Kernels, moved, rows
from Experiments.comparison.distances.measures import Measure, Parts
from Experiments.comparison.distances.symmetries import Symmetries


def local_search(
    symmetries: Symmetries,
    first: Kernels,
    second: Kernels,
    measure: Measure,
    partners: np.ndarray,
    steps: int,
    generator: np.random.Generator,
) -> np.ndarray:
    """The partner (count,) of each place after `steps` swaps were tried, from given partners.

    A step swaps two units of a stream, which is drawn with probability proportional to its size. A swap is kept if the
    mean distance of layers, each the mean over all its units, decreases.
    """
    if not symmetries.streams:
        return partners
    state = _Search(symmetries, first, second, measure, partners)
    sizes = np.array([len(stream) for stream in symmetries.streams])
    for stream in generator.choice(len(sizes), steps, p=sizes / sizes.sum()):
        one, other = generator.choice(sizes[stream], 2, replace=False)
        state.try_swap(stream, one, other)
    return state.partners


class _Search:
    """The permuted second network, and the parts of the distances of its units."""

    def __init__(
        self, symmetries: Symmetries, first: Kernels, second: Kernels, measure: Measure, partners: np.ndarray
    ) -> None:
        self.streams, self.measure, self.first, self.partners = symmetries.streams, measure, first, partners.copy()
        self.second = {name: moved(second[name], name, symmetries, partners) for name in symmetries.layers}
        self.parts = {name: measure.paired(rows(first[name]), rows(kernel)) for name, kernel in self.second.items()}
        self.means = {name: parts.ratios.mean() for name, parts in self.parts.items()}
        self.entries = [
            [(name, *(axis.entries(stream) for axis in symmetries.layers[name])) for name in symmetries.touched(stream)]
            for stream in symmetries.streams
        ]

    def try_swap(self, stream: int, one: int, other: int) -> None:
        """Swap the places `one` and `other` of a stream, counted within it, and undo it unless that helps."""
        parts = {name: self._swapped(name, units[[one, other]], channels[[one, other]])
                 for name, units, channels in self.entries[stream]}  # fmt: skip
        means = {name: own.ratios.mean() for name, own in parts.items()}
        if sum(means.values()) < sum(self.means[name] for name in means):
            self.parts |= parts
            self.means |= means
            places = self.streams[stream][[one, other]]
            self.partners[places] = self.partners[places[::-1]]
        else:
            for name, units, channels in self.entries[stream]:
                _swap(self.second[name], units[[one, other]], channels[[one, other]])

    def _swapped(self, name: str, units: np.ndarray, channels: np.ndarray) -> Parts:
        """Swap units and channels of a layer, and return the parts of its distances after that."""
        first, second = self.first[name], self.second[name]
        different, most = (part.copy() for part in self.parts[name])
        changed = channels.ravel()
        before = self.measure.shares(rows(first[:, changed]), rows(second[:, changed]))
        _swap(second, units, channels)
        after = self.measure.shares(rows(first[:, changed]), rows(second[:, changed]))
        different, most = different + (after.different - before.different), most + (after.most - before.most)
        swapped = units.ravel()
        different[swapped], most[swapped] = self.measure.paired(rows(first[swapped]), rows(second[swapped]))
        return Parts(different, most)


def _swap(kernel: np.ndarray, units: np.ndarray, channels: np.ndarray) -> None:
    """Exchange two places (2, repetitions) of units, and two of channels, in place."""
    kernel[units.ravel()] = kernel[units[::-1].ravel()]
    kernel[:, channels.ravel()] = kernel[:, channels[::-1].ravel()]
