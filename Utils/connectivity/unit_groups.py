"""Unit groups: the units that can be removed, those that are removed together, and sets of which one must stay.

A unit is an output of a linear layer, or a filter of a convolution. Removing it cuts out its weights, its bias, its
normalisation channel, and the weights that read it. Units are removed together where they meet: in a sum, a product or
a channel of a reader, or as a depthwise filter and its channel. Units that meet inputs or outputs of the network stay.
"""

from collections.abc import Container
from dataclasses import dataclass

import numpy as np
import torch
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from torch import Tensor, nn

from Utils.connectivity.interpreter import propagate, record_units
from Utils.connectivity.ops.maxmin import INFINITE
from Utils.connectivity.ops.unit_record import UnitRecord


@dataclass(frozen=True)
class UnitGroup:
    """Layers that share removals: units with the same place are removed together, and count as one."""

    places: dict[str, Tensor]
    """int64 (units,) by weight parameter, in the order of the graph: the place of each unit, or -1 if it stays."""
    kinds: list[int]
    """The kind of each place: places of a kind are made and read by the same layers, equally often."""

    def sums(self, name: str, values: Tensor) -> Tensor:
        """For each place, the sum (places,) of the values (units,) of its units in one layer."""
        places = self.places[name].to(values.device)
        return values.new_zeros(len(self.kinds)).index_add_(0, places[places >= 0], values[places >= 0])


@dataclass(frozen=True)
class UnitGroups:
    """The removable units of a network."""

    groups: dict[str, UnitGroup]
    """Groups by their first weight parameter."""
    covers: list[Tensor]
    """Sets of places, counted through all groups. If each keeps one, every kept unit is on a path to an output."""


def unit_groups(model: nn.Module, input_shape: tuple[int, ...], removable: Container[str] | None = None) -> UnitGroups:
    """The removable units of a model in groups; `removable` names the weight parameters with such units (default: all).

    `input_shape` excludes the batch axis. A unit that is on no path from an input to an output, whatever is pruned,
    does not count. Raises `UserError` if torch.fx cannot trace the model, or for an operation without a rule.
    """
    record = record_units(model, input_shape)
    is_alive = _alive(model, record, input_shape)
    fixed = [numbers for name, numbers in record.numbers.items() if removable is not None and name not in removable]
    places, owners = _places(record, is_alive, fixed)
    kinds = _kinds(record, places, len(owners))
    groups: dict[int, UnitGroup] = {}
    for name, numbers in record.numbers.items():
        own = places[nodes_of(numbers)]
        if own.max() >= 0:
            owner = int(owners[own.max()])
            first, last = np.searchsorted(owners, [owner, owner + 1])
            group = groups.setdefault(owner, UnitGroup({}, kinds[first:last]))
            group.places[name] = torch.from_numpy(np.where(own >= 0, own - first, -1))
    by_name = {next(iter(group.places)): group for group in groups.values()}
    return UnitGroups(by_name, _covers(record, places, is_alive))


def _alive(model: nn.Module, record: UnitRecord, input_shape: tuple[int, ...]) -> np.ndarray:
    """Whether each number is that of a unit on a path through the unpruned network; number 0 is what stays."""
    ranks = {name: torch.ones_like(model.get_parameter(name), dtype=torch.int32) for name in record.numbers}
    effective = propagate(model, ranks, input_shape, per_channel=True).effective
    return np.concatenate([[True], *(effective[name].flatten(1).any(1).cpu().numpy() for name in record.numbers)])


def _places(record: UnitRecord, is_alive: np.ndarray, fixed: list[Tensor]) -> tuple[np.ndarray, np.ndarray]:
    """The place of each number, counted through all groups, or -1; and for each place, the first layer of its group."""
    count, layer_count = len(is_alive), len(record.numbers)
    ties = [np.zeros((2, 0), dtype=np.int64), *map(nodes_of, [*record.ties, *record.depthwise])]
    ties += [np.stack([nodes_of(numbers), np.zeros(len(numbers), dtype=np.int64)]) for numbers in fixed]
    classes = components(count, np.concatenate(ties, axis=1))
    removable = np.flatnonzero((classes != classes[0]) & np.isin(classes, classes[is_alive]))
    layer_of = np.repeat(np.arange(layer_count), [len(numbers) for numbers in record.numbers.values()])
    layers, classes = layer_of[removable - 1], classes[removable]
    # A graph of layers and classes, in which a class joins the layers of its units.
    owners = components(layer_count + count, np.stack([layers, layer_count + classes]))[layers]
    pairs, own = np.unique(np.stack([owners, classes]), axis=1, return_inverse=True)
    places = np.full(count, -1)
    places[removable] = own.reshape(-1)
    return places, pairs[0]


def _covers(record: UnitRecord, places: np.ndarray, is_alive: np.ndarray) -> list[Tensor]:
    """The sets of places of which one must stay, the smallest first; without those in which a unit stays anyway."""
    covers = {}
    for _, numbers in record.covers:
        nodes = nodes_of(numbers)
        cover = np.unique(places[nodes[is_alive[nodes]]])
        if len(cover) and cover[0] >= 0:
            covers[tuple(cover)] = torch.from_numpy(cover)
    return sorted(covers.values(), key=len)


def _kinds(record: UnitRecord, places: np.ndarray, count: int) -> list[int]:
    """For each place, the number of its kind: what makes and reads its units, with repetitions."""
    profiles: list[list[str]] = [[] for _ in range(count)]
    for what, numbers in record.covers:
        for place in places[nodes_of(numbers)]:
            if place >= 0:
                profiles[place].append(what)
    kinds: dict[tuple[str, ...], int] = {}
    return [kinds.setdefault(tuple(sorted(profile)), len(kinds)) for profile in profiles]


def nodes_of(numbers: Tensor) -> np.ndarray:
    """Numbers as nodes of a graph, in which 0 is what stays."""
    return numbers.cpu().numpy().astype(np.int64) % INFINITE


def components(count: int, edges: np.ndarray) -> np.ndarray:
    """For each of `count` nodes, the lowest node that edges (2, n) join it to."""
    graph = coo_array((np.ones(edges.shape[1], dtype=bool), (edges[0], edges[1])), shape=(count, count))
    labels = connected_components(graph, directed=False)[1]
    return np.unique(labels, return_index=True)[1][labels]
