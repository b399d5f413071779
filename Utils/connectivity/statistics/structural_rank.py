"""Structural rank of a mask: the largest number of vertex-disjoint paths of kept weights from inputs to outputs."""

from collections.abc import Mapping
from functools import cache

import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.csgraph import maximum_flow
from torch import Tensor, nn

from Utils.connectivity.effective import effective_masks
from Utils.connectivity.statistics.channel_graph import ChannelGraph, Edges, channel_graph


def structural_rank(model: nn.Module, input_shape: tuple[int, ...], masks: Mapping[str, Tensor] | None = None) -> int:
    """The structural rank of masks, by default the model's own; `input_shape` excludes the batch axis.

    It is the maximum flow through the channel graph (`channel_graph.py`) of the effective masks, with vertices of
    limited capacity and unlimited edges. By Menger's theorem (1927), it is the largest number of paths of which no more
    share a vertex than its capacity, and the capacity of the narrowest cut of vertices.

    In a network of linear layers, it is the rank of the product of the masked weight matrices for almost all weights
    (generic rank), which bounds the rank of the map from inputs to outputs, whatever the weights. With convolutions, it
    is an upper bound of the number of vertex-disjoint paths of single positions, because it ignores at which positions
    the paths of two channels can meet. 0 means that the network has collapsed, or that its paths are those of gates.
    Raises `UserError` as `effective_masks` does.
    """
    graph = channel_graph(model, input_shape)
    return rank_of(graph, graph.edges(effective_masks(model, input_shape, masks)))


def rank_curve(model: nn.Module, effective: Mapping[str, Tensor], input_shape: tuple[int, ...]) -> np.ndarray:
    """The structural rank at all levels of pruning: int64 (highest rank,).

    Entry r - 1 is the smallest number K of kept entries with which the rank is at least r. `effective` are the
    effective ranks of all N entries, as `effective_scores` returns them. Keeping more never lowers the rank, so
    bisection finds each change. Raises `UserError` as `effective_masks` does.
    """
    graph = channel_graph(model, input_shape)
    edges = graph.ranked_edges(effective)
    size = sum(ranks.numel() for ranks in effective.values())

    @cache
    def rank(kept: int) -> int:
        is_kept = edges.values > size - kept
        return rank_of(graph, Edges(edges.sources[is_kept], edges.targets[is_kept], edges.values[is_kept]))

    first = np.empty(rank(size), dtype=np.int64)
    first[: rank(0)] = 0
    levels = [(0, size)]
    while levels:
        low, high = levels.pop()
        if rank(low) < rank(high):
            middle = (low + high) // 2
            if middle == low:
                first[rank(low) : rank(high)] = high
            else:
                levels += [(low, middle), (middle, high)]
    return first


def cuts(model: nn.Module, input_shape: tuple[int, ...], masks: Mapping[str, Tensor] | None = None) -> dict[str, int]:
    """The cut of each layer by weight parameter: the total capacity of its units with an effective weight.

    The smallest, the minimum width, is the largest possible rank of a network whose layers follow each other. A layer
    counts even if a skip bypasses it, or if it is part of a gate; then the rank may be larger. All units of a layer
    without a mask count. Raises `UserError` as `effective_masks` does.
    """
    return cuts_of(channel_graph(model, input_shape), effective_masks(model, input_shape, masks))


def rank_of(graph: ChannelGraph, edges: Edges) -> int:
    """The maximum flow from the inputs to the outputs of a channel graph with these edges."""
    count = len(graph.capacities)
    # Vertex v is split: flow enters at v, and leaves from count + v. Vertex 0 splits into the source and the sink.
    enters, leaves = np.arange(1, count), count + np.arange(1, count)
    starts, ends = graph.inputs, count + graph.outputs
    # Nothing can exceed what enters: as a bound of all edges, which repetitions multiply, it fits 32 bits.
    most = int(graph.capacities[starts].sum())
    capacities = np.full(len(edges.sources) + count - 1 + len(starts) + len(ends), most)
    capacities[: count - 1] = np.minimum(graph.capacities[1:], most)
    rows = np.concatenate([enters, count + edges.sources, np.zeros(len(starts), dtype=np.int64), ends])
    columns = np.concatenate([leaves, edges.targets, starts, np.full(len(ends), count)])
    network = csr_array((capacities, (rows, columns)), shape=(2 * count, 2 * count))
    network.data = np.minimum(network.data, most).astype(np.int32)
    return int(maximum_flow(network, 0, count).flow_value)


def cuts_of(graph: ChannelGraph, effective: Mapping[str, Tensor]) -> dict[str, int]:
    """The cuts of effective masks; of several calls of a layer, the smallest counts."""
    widths: dict[str, int] = {}
    for layer in graph.record.layers:
        capacities = graph.capacities[layer.units]
        if layer.parameter in effective:
            capacities = capacities[effective[layer.parameter].flatten(1).any(1).cpu().numpy()]
        width = int(capacities.sum())
        widths[layer.parameter] = min(width, widths.get(layer.parameter, width))
    return widths
