"""Graph statistics of a mask: all numbers of its channel graph from one walk, cheap enough for every network."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from Layers import prunable
from Utils.connectivity.effective import effective_masks
from Utils.connectivity.statistics.channel_graph import ChannelGraph, channel_graph
from Utils.connectivity.statistics.paths import BigNumbers, PathCounts, participation_width
from Utils.connectivity.statistics.structural_rank import cuts_of, rank_of


@dataclass(frozen=True)
class GraphStatistics:
    """Statistics of the effective weights of a network; `channel_graph.py` defines vertices and edges.

    Effective nodes, paths and parameters are those of NPB (Pham et al. 2023, "Towards Data-Agnostic Pruning At
    Initialization: What Makes a Good Sparse Mask?"), counted per channel. NPB's program counts paths by the outputs for
    an input of ones, once for each position; here a path is one kept kernel entry of each layer that it passes.
    """

    structural_rank: int
    """The maximum flow from inputs to outputs; see `structural_rank`."""
    cuts: dict[str, int]
    """For each layer by weight parameter, the total capacity of its effective units; see `cuts`."""
    participation_widths: dict[str, float]
    """For each layer, the effective number of units among which the paths divide; 0 for one that no path passes."""
    effective_nodes: int
    """Input entries or channels, units and channels of layers that lie on a path; the same unit in each call."""
    effective_parameters: int
    """Effective entries of all prunable parameters."""
    log_paths: float
    """The natural logarithm of the number of paths from an input to an output; -inf without any."""
    scaled_paths: float
    """`log_paths` by that of the dense network, so that it is 1 without pruning; nan if that has at most one path."""
    scaled_nodes: float
    """`effective_nodes` by the number of all nodes."""
    node_strength: float
    """The sum of |w| of the effective kernel entries per effective node (Hoang et al. 2023, "Revisiting Pruning at
    Initialization Through the Lens of Ramanujan Graph"); 0 without any."""

    @property
    def min_width(self) -> int:
        """The smallest cut of a layer; in a network whose layers follow each other, the rank is at most that."""
        return min(self.cuts.values())

    @property
    def participation_width(self) -> float:
        """The smallest participation width of a layer that a path passes; 0 if there is no path."""
        return min((width for width in self.participation_widths.values() if width > 0), default=0.0)

    @property
    def node_path_balance(self) -> float:
        """The harmonic mean of scaled nodes and scaled paths, which is high only if both are; 0 without a path.

        NPB calls masks with many of both balanced; its pruner maximises a weighted sum of both in each layer.
        """
        if not self.effective_nodes:
            return 0.0
        return 2 * self.scaled_nodes * self.scaled_paths / (self.scaled_nodes + self.scaled_paths)


def graph_statistics(
    model: nn.Module, input_shape: tuple[int, ...], effective: Mapping[str, Tensor] | None = None
) -> GraphStatistics:
    """The statistics of effective masks, by default those of the model's own masks, at the model's weights.

    `input_shape` excludes the batch axis. Raises `UserError` as `effective_masks` does.
    """
    if effective is None:
        effective = effective_masks(model, input_shape)
    graph = channel_graph(model, input_shape)
    edges = graph.edges(effective)
    counts = PathCounts.of(graph, edges)
    through = counts.through
    numbers = np.concatenate([graph.inputs, *(np.r_[layer.units] for layer in graph.record.layers)])
    nodes = int((through.mantissas[numbers] > 0).sum())
    log_paths = counts.log_total(graph)
    # Without pruning, kernel entries that reach only padding are on no path either.
    dense = effective_masks(model, input_shape, {name: torch.ones_like(mask) for name, mask in effective.items()})
    dense_log_paths = PathCounts.of(graph, graph.edges(dense)).log_total(graph)
    return GraphStatistics(
        structural_rank=rank_of(graph, edges),
        cuts=cuts_of(graph, effective),
        participation_widths=_participation_widths(graph, through),
        effective_nodes=nodes,
        effective_parameters=sum(int(mask.sum()) for mask in effective.values()),
        log_paths=log_paths,
        scaled_paths=log_paths / dense_log_paths if dense_log_paths > 0 else math.nan,
        scaled_nodes=nodes / len(numbers),
        node_strength=_strength(model, effective) / nodes if nodes else 0.0,
    )


def _participation_widths(graph: ChannelGraph, through: BigNumbers) -> dict[str, float]:
    """By weight parameter; of several calls of a layer, the smallest width that is not 0 counts."""
    widths: dict[str, float] = {}
    for layer in graph.record.layers:
        width, other = participation_width(through[layer.units]), widths.get(layer.parameter, 0.0)
        widths[layer.parameter] = min(width, other) or max(width, other)
    return widths


def _strength(model: nn.Module, effective: Mapping[str, Tensor]) -> float:
    weights = ((weight, effective[name]) for name, (weight, _) in prunable(model).items() if weight.dim() > 1)
    return sum(float((weight.detach() * mask).abs().sum(dtype=torch.float64)) for weight, mask in weights)
