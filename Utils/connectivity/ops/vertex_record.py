"""Vertex record: the vertices of a network's channel graph by number, their capacities, and what joins them.

In the place of activations, operations carry int32 tensors of numbers: an entry has the number of the vertex whose
value it is, from 1 in the order of the graph, or 0 if no path leads to it, as to padding or a constant.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from Utils.connectivity.ops.call import Pullback
from Utils.connectivity.ops.unit_record import distinct_pairs

UNBOUNDED = np.iinfo(np.int64).max
"""Capacity of a vertex that limits no flow."""


@dataclass(frozen=True)
class LayerVertices:
    """The vertices of one call of a linear layer or a convolution, and those that it reads."""

    parameter: str
    shape: tuple[int, ...]
    """Shape of the kernel, (units, channels of a group, ...)."""
    hub: int
    """Number of a vertex of unlimited capacity for the first group; those of the others follow, and then the units'.

    Where all units of a group read the same, as without pruning, edges through the hub replace those of every pair.
    """
    groups: int
    starts: np.ndarray
    """Where the runs of each row of the kernel begin; all entries of a run read the same vertices."""
    sources: np.ndarray
    """Pairs (2, n) of a run, counted through all groups, and a vertex that it reads, in ascending order."""

    @property
    def units(self) -> slice:
        """The numbers of the units' vertices."""
        first = self.hub + self.groups
        return slice(first, first + self.shape[0])


@dataclass(frozen=True)
class ScaleVertices:
    """The vertices behind one call of a prunable scale."""

    parameter: str
    edges: np.ndarray
    """(3, n): a vertex of the input, the channel in which it is scaled, and the vertex behind."""


@dataclass
class VertexRecord:
    """Collects the channel graph of a network; see `statistics/channel_graph.py` for its definition."""

    capacities: list[np.ndarray] = field(default_factory=lambda: [np.zeros(1, dtype=np.int64)])
    """Capacities of the vertices in steps; each step has edges from earlier ones only. Number 0 stands for nothing."""
    layers: list[LayerVertices] = field(default_factory=list)
    scales: list[ScaleVertices] = field(default_factory=list)
    joins: list[np.ndarray] = field(default_factory=list)
    """Edges (2, n) that no pruning removes."""
    inputs: int = 0
    """The vertices of the input have the numbers 1 to `inputs`."""
    outputs: list[np.ndarray] = field(default_factory=list)
    """Numbers of the vertices at the outputs."""

    def _add(self, capacities: np.ndarray) -> int:
        """Add a step of vertices (n,); returns the number of the first."""
        self.capacities.append(capacities)
        return sum(map(len, self.capacities[:-1]))

    def input(self, shape: Sequence[int], is_map: bool, device: torch.device) -> Tensor:
        """Numbers (1, *shape) of an input without batch axis; for a map, each channel is one vertex."""
        count = shape[0] if is_map else math.prod(shape)
        self.inputs = count
        first = self._add(np.full(count, math.prod(shape) // count))
        numbers = torch.arange(first, first + count, dtype=torch.int32, device=device)
        return numbers.reshape(-1, *[1] * (len(shape) - 1)).expand(1, *shape) if is_map else numbers.reshape(1, *shape)

    def layer(self, parameter: str, shape: Sequence[int], entries: Tensor, positions: int, groups: int = 1) -> Tensor:
        """Numbers (units,) of the new vertices of a layer that reads entries (channels, positions of the input)."""
        channels = torch.arange(1, len(entries) + 1, device=entries.device)[:, None]
        sources = distinct_pairs(channels, entries).cpu().numpy() - [[1], [0]]
        taps = math.prod(shape[2:])
        starts = np.arange(0, shape[1] * taps, taps)
        if np.array_equal(sources[0], np.arange(shape[1])):  # one vertex per channel, as a rule
            is_first = np.diff(sources[1], prepend=0) != 0
            starts, sources = starts[is_first], np.stack([np.arange(is_first.sum()), sources[1, is_first]])
        hub = self._add(np.full(groups, UNBOUNDED))
        first = self._add(np.full(shape[0], positions))
        self.layers.append(LayerVertices(parameter, tuple(shape), hub, groups, starts, sources))
        return torch.arange(first, first + shape[0], dtype=torch.int32, device=entries.device)

    def scale(self, parameter: str, numbers: Tensor) -> Tensor:
        """Numbers of the new vertices behind a prunable scale of each channel, the second axis; they limit no flow."""
        channels = torch.arange(numbers.shape[1], device=numbers.device).reshape(-1, *[1] * (numbers.dim() - 2))
        packed, index = ((numbers.long() << 32) + channels).unique(return_inverse=True)
        pairs = torch.stack([packed >> 32, packed % (1 << 32)]).cpu().numpy()
        first = self._add(np.full(len(packed), UNBOUNDED))
        edges = np.concatenate([pairs, first + np.arange(len(packed))[None]])
        self.scales.append(ScaleVertices(parameter, edges[:, edges[0] > 0]))
        return torch.where(numbers > 0, first + index.int(), 0)

    def join(self, inputs: Sequence[Tensor], output: Tensor, pullback: Pullback) -> Tensor:
        """Numbers of new vertices at an operation's output, one for all entries that carry the same highest number.

        The capacity is the number of these entries. Edges lead from all vertices that the pullback joins to them.
        """
        counts = torch.bincount(output.flatten())
        counts[0] = 0
        carried = counts.nonzero().flatten()
        first = self._add(counts[carried].cpu().numpy())
        table = torch.zeros(len(counts), dtype=torch.int32, device=output.device)
        table[carried] = torch.arange(first, first + len(carried), dtype=torch.int32, device=output.device)
        numbers = table[output]
        edges = _reaching(inputs, numbers, pullback)
        self.joins.append(torch.cat(edges, 1).unique(dim=1).cpu().numpy())
        return numbers

    def end(self, numbers: Tensor) -> None:
        """Record an output of the network."""
        self.outputs.append(numbers[numbers > 0].unique().cpu().numpy())


def _reaching(inputs: Sequence[Tensor], numbers: Tensor, pullback: Pullback) -> list[Tensor]:
    """Edges (2, n) from the vertices of inputs to those of the outputs that they reach, with repetitions.

    The pullback tells for each entry of an input the highest number that it reaches, and of mirrored numbers the
    lowest. Where these differ, there may be more between: the numbers are split into two halves.
    """
    top = int(numbers.max()) + 1
    highest = pullback(numbers)
    lowest = [_mirrored(back, top) for back in pullback(_mirrored(numbers, top))]
    edges = [distinct_pairs(own, high) for own, high in zip(inputs, highest, strict=True)]
    if any(not torch.equal(high, low) for high, low in zip(highest, lowest, strict=True)):
        edges += [distinct_pairs(own, low) for own, low in zip(inputs, lowest, strict=True)]
        present = numbers[numbers > 0].unique()
        middle = present[len(present) // 2]
        for half in (numbers < middle, numbers >= middle):
            edges += _reaching(inputs, torch.where(half, numbers, 0), pullback)
    return edges


def _mirrored(numbers: Tensor, top: int) -> Tensor:
    """Numbers between 0 and `top` in reverse order; 0 stays 0."""
    return torch.where(numbers > 0, top - numbers, 0)
