"""Moments of activations: means, products of deviations and constant units of networks, streamed over batches."""

from collections.abc import Sequence
from functools import cached_property
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from Experiments.comparison.activations.recording import When, as_samples, record
from Experiments.comparison.networks import Network

_ROUNDING = 8
"""Units in the last place by which outputs of equal inputs may differ, depending on their place in a batch."""


class Moments:
    """Sums over samples of the units of several networks, of which all similarities of a layer are functions.

    Batches are merged by the update of Chan et al. (1983), in float64, on activations from which the mean of the first
    batch is subtracted: no sum of squares of large numbers is ever formed. All networks lie side by side in one matrix,
    so that one product per batch serves all pairs.
    """

    def __init__(self, widths: Sequence[int]) -> None:
        self.widths, self.count = list(widths), 0
        bounds = np.cumsum([0, *widths])
        self.units = [slice(int(start), int(end)) for start, end in pairwise(bounds)]
        """The rows of each network's units."""
        self._precision = 0.0

    def add(self, values: Sequence[Tensor]) -> None:
        """Add a batch: (samples, units) of each network."""
        self._precision = max(self._precision, *(torch.finfo(part.dtype).eps for part in values))
        joint = torch.cat([part.double() for part in values], 1)
        if not self.count:
            size = joint.shape[1] + len(self.widths)
            self._shift = joint.mean(0)
            self._mean, self._products = joint.new_zeros(size), joint.new_zeros(size, size)
            self._low, self._high = joint.amin(0), joint.amax(0)
        self._low, self._high = torch.minimum(self._low, joint.amin(0)), torch.maximum(self._high, joint.amax(0))
        joint = joint - self._shift
        norms = [part.square().sum(1, keepdim=True) for part in joint.split(self.widths, 1)]
        rows = torch.cat([joint, *norms], 1)
        mean, samples = rows.mean(0), len(rows)
        centred, step, total = rows - mean, mean - self._mean, self.count + samples
        self._products += centred.T @ centred + torch.outer(step, step) * (self.count * samples / total)
        self._mean += step * (samples / total)
        self.count = total

    @cached_property
    def products(self) -> np.ndarray:
        """Sums of products of deviations, (units, units) over all networks."""
        size = sum(self.widths)
        return self._products[:size, :size].cpu().numpy()

    @cached_property
    def is_dead(self) -> np.ndarray:
        """Whether a unit is constant: its values differ by no more than rounding."""
        spread, largest = self._high - self._low, torch.maximum(self._high.abs(), self._low.abs())
        return (spread <= _ROUNDING * self._precision * largest).cpu().numpy()

    @cached_property
    def correlation(self) -> np.ndarray:
        """Pearson correlations (units, units) over all networks; 0 where a unit is dead."""
        scale = np.where(self.is_dead, np.inf, np.sqrt(np.diag(self.products)))
        return np.clip(self.products / np.outer(scale, scale), -1, 1)

    def between(self, first: int, second: int) -> np.ndarray:
        """Correlations (units of the first network, units of the second)."""
        return self.correlation[self.units[first], self.units[second]]

    def live(self, network: int) -> np.ndarray:
        """Whether each unit of a network is live."""
        return ~self.is_dead[self.units[network]]

    def squared_norms(self) -> tuple[np.ndarray, np.ndarray]:
        """Moments over samples of each network's squared distance from its mean activation.

        Returns the sum of the distances (networks,), and the sums of products of two (networks, networks).
        """
        size, networks = sum(self.widths), len(self.widths)
        # |x - m|^2 = |x|^2 - 2 m.x + |m|^2, whose deviations are a linear function of those of x and |x|^2.
        linear = np.zeros((size + networks, networks))
        mean = self._mean.cpu().numpy()
        for network, units in enumerate(self.units):
            linear[units, network] = -2 * mean[units]
            linear[size + network, network] = 1
        sums = np.array([np.trace(self.products[units, units]) for units in self.units])
        return sums, linear.T @ self._products.cpu().numpy() @ linear + np.outer(sums, sums) / self.count


def observe(
    networks: Sequence[Network], inputs: Tensor, when: When = "after", batch_size: int | None = None
) -> dict[str, Moments]:
    """The moments of each layer over images, after one forward pass per network and batch.

    Each position of a convolution is a sample of its own. Arguments and errors are those of `record`.
    """
    moments = {layer.name: Moments([layer.weights.shape[0]] * len(networks)) for layer in networks[0].layers}
    for batch in record(networks, inputs, when, batch_size):
        for name, sums in moments.items():
            sums.add([as_samples(values.pop(name)) for values in batch])
    return moments
