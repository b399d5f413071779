"""Channel graph: a network as a directed acyclic graph of units and channels, for every mask.

Vertices and their capacities:
- input: one vertex per channel, with a capacity of height x width, if the first layer is a convolution; else one vertex
  of capacity 1 per entry;
- linear layer or convolution: one vertex per unit or channel in each call, with a capacity of one per position;
- sum, pooling, reduction, softmax, layer normalisation: one vertex for all outputs that carry the same channel, with a
  capacity of one per output; so pooling and sums have the capacity of their own resolution, a global mean has 1.

Edges: one from each vertex among the entries of a channel, or feature, to each unit that has a kept kernel entry for
it; one from each vertex that reaches an output of a sum, pooling and so on. Operations that move entries (flatten,
concatenation, slices, padding), activations and normalisations by constants add no vertex. A prunable scale cuts its
channel when it is pruned. A product of two activations carries the gated factor; its gate counts as open. Biases and
shifts start no path. Only the vertices at the outputs end paths.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.sparse import csr_array
from torch import Tensor, nn

from Layers import prunable
from Utils.connectivity.interpreter import record_vertices
from Utils.connectivity.ops.maxmin import INFINITE
from Utils.connectivity.ops.vertex_record import LayerVertices, VertexRecord


@dataclass(frozen=True)
class Edges:
    """Edges of a channel graph, with repetitions."""

    sources: np.ndarray
    targets: np.ndarray
    values: np.ndarray
    """The number of kept kernel entries of each edge, or the highest of their ranks; never 0."""

    def matrix(self, count: int) -> csr_array:
        """The values as a matrix (targets, sources) for vertices with numbers below `count`; repetitions add up."""
        return csr_array((self.values, (self.targets, self.sources)), shape=(count, count))


@dataclass(frozen=True)
class ChannelGraph:
    """Vertices of a network, and how its masks make edges between them. Number 0 stands for no vertex."""

    record: VertexRecord

    @cached_property
    def capacities(self) -> np.ndarray:
        """int64 (vertices + 1,): the capacity of each vertex."""
        return np.concatenate(self.record.capacities)

    @cached_property
    def steps(self) -> np.ndarray:
        """int64 (steps + 1,): the first vertices of the steps, and the end; edges come from earlier steps only."""
        return np.cumsum([0, *map(len, self.record.capacities)])

    @cached_property
    def inputs(self) -> np.ndarray:
        """Numbers of the vertices at which paths start."""
        return np.arange(1, self.record.inputs + 1)

    @cached_property
    def outputs(self) -> np.ndarray:
        """Numbers of the vertices at which paths end."""
        return np.unique(np.concatenate([np.zeros(0, dtype=np.int64), *self.record.outputs]))

    def edges(self, masks: Mapping[str, Tensor]) -> Edges:
        """The edges that bool masks keep, with their numbers of kernel entries.

        Masks should be effective ones: an entry of a kernel that is used nowhere but at padding joins two channels,
        though no path leads through it. A parameter that is left out keeps all entries.
        """
        return self._edges(masks, np.add, 1)

    def ranked_edges(self, ranks: Mapping[str, Tensor]) -> Edges:
        """The edges that any threshold keeps, with the highest of their entries' int32 effective ranks."""
        return self._edges(ranks, np.maximum, INFINITE)

    def _edges(self, kept: Mapping[str, Tensor], merge: np.ufunc, always: int) -> Edges:
        parts = [_layer_edges(layer, kept.get(layer.parameter), merge, always) for layer in self.record.layers]
        for scale in self.record.scales:
            sources, channels, targets = scale.edges
            values = kept[scale.parameter].cpu().numpy()[channels] if scale.parameter in kept else always
            parts.append((sources, targets, np.full(len(sources), values, np.int32)))
        parts += [(sources, targets, np.full(len(sources), always, np.int32)) for sources, targets in self.record.joins]
        sources, targets, values = (np.concatenate(columns) for columns in zip(*parts, strict=True))
        return Edges(sources[values > 0], targets[values > 0], values[values > 0])


def channel_graph(model: nn.Module, input_shape: tuple[int, ...]) -> ChannelGraph:
    """The channel graph of a model, by one walk; `input_shape` excludes the batch axis.

    Raises `UserError` if torch.fx cannot trace the model, or for an operation without a rule.
    """
    masks = {name: mask for name, (_, mask) in prunable(model).items()}
    return ChannelGraph(record_vertices(model, masks, input_shape))


def _layer_edges(
    layer: LayerVertices, kept: Tensor | None, merge: np.ufunc, always: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Sources, targets and values of a layer's edges; a value can be 0."""
    units, groups = np.arange(layer.units.start, layer.units.stop), layer.groups
    hubs = layer.hub + np.arange(groups)
    size = math.prod(layer.shape[1:])
    entries = np.full(groups * size, always, np.int32) if kept is None else kept.cpu().numpy()
    runs = merge.reduceat(entries.reshape(-1, size), layer.starts, axis=1, dtype=np.int32)
    runs = runs.reshape(groups, -1, len(layer.starts))
    if (runs == runs[:, :1]).all():
        sources, targets, values = _run_edges(layer, runs[:, :1], hubs)
        from_hubs = np.repeat(hubs, len(units) // groups), units, np.full(len(units), always, np.int32)
        parts = zip((sources, targets, values), from_hubs, strict=True)
        sources, targets, values = (np.concatenate(columns) for columns in parts)
        return sources, targets, values
    return _run_edges(layer, runs, units)


def _run_edges(
    layer: LayerVertices, runs: np.ndarray, targets: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Sources, targets and values of the edges of runs (groups, targets of a group, runs of a group) that are not 0."""
    group, row, run = np.nonzero(runs)
    values = runs[group, row, run]
    run += group * runs.shape[2]
    # Run r reads the vertices sources[1, first[r] : first[r + 1]].
    first = np.searchsorted(layer.sources[0], np.arange(runs.shape[2] * layer.groups + 1))
    counts = np.diff(first)[run]
    within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    sources = layer.sources[1, np.repeat(first[run], counts) + within]
    return sources, np.repeat(targets[group * runs.shape[1] + row], counts), np.repeat(values, counts)
