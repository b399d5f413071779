"""Plan of a compaction: which entries of every value stay, and what cannot be cut out for which reason.

A class of units (`Graph.classes`) stays if one of its entries depends on the input and matters to an output. Otherwise
it is cut out, and what its constants add to a layer that reads them goes into the bias of that layer. A class stays
nevertheless, whatever it carries, where

- a normalisation counts it,
- what it adds differs at the border of a padded map,
- a grouped convolution needs as many channels in each group,
- what is left of a value would not be a box of rows, columns and channels.

Each of these decisions only adds classes that stay, so that repeating them ends.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

import torch
from torch import Tensor, fx

from Utils.connectivity.compaction.folding import fold
from Utils.connectivity.compaction.graph import Graph
from Utils.connectivity.ops.normalisation import JoinedNorm
from Utils.connectivity.ops.rewrite import Axes
from Utils.connectivity.ops.weight_layers import Convolution


@dataclass
class Plan:
    """What stays of each value."""

    graph: Graph
    stays: Tensor
    """bool, by class."""
    axes: dict[fx.Node, list[Axes]] = field(default_factory=dict)
    """For each part of a node's value, the indices that stay along each axis."""
    shifts: dict[fx.Node, Tensor] = field(default_factory=dict)
    """float64 (all units): what is added to the bias of a layer, by its call."""
    reasons: dict[str, set[int]] = field(default_factory=lambda: defaultdict(set))
    """Classes that stay although they carry nothing, by the reason."""

    @classmethod
    def of(cls, graph: Graph) -> "Plan":
        """Decide what stays."""
        plan = cls(graph, _live(graph))
        plan._complete()
        return plan

    def keep_inputs(self, node: fx.Node) -> None:
        """Let everything stay that a node reads, for no call of its operation moves a part of it."""
        for source in self.graph.sources(node):
            for numbers in self.graph.parts(self.graph.reach.numbers, source):
                self.keep(self.graph.class_of(numbers).unique().tolist(), f"{_named(node)} needs them in their places")
        self._complete()

    def _complete(self) -> None:
        while True:
            before = int(self.stays.sum())
            self._choose_axes()
            for check in (self._keep_counted, self._keep_borders, self._keep_groups):
                check()
            if int(self.stays.sum()) == before:
                return

    def size(self, node: fx.Node, part: int = 0) -> list[int]:
        """The shape of what stays of a value."""
        return [len(axis) for axis in self.axes[node][part]]

    def keep(self, classes: Iterable[int], reason: str) -> None:
        """Let classes stay."""
        for one in classes:
            if one >= 0 and not self.stays[one]:
                self.stays[one] = True
                self.reasons[reason].add(int(one))

    def _choose_axes(self) -> None:
        """Find what stays of every value, from the outputs to the inputs; what is no box keeps more classes."""
        graph, wanted = self.graph, {}
        for node in reversed(graph.nodes):
            numbers = graph.parts(graph.reach.numbers, node)
            asked = wanted.pop(node, None) or [torch.zeros_like(part, dtype=torch.bool) for part in numbers]
            kept = [self._entries(part, own, node) for part, own in zip(numbers, asked, strict=True)]
            boxes = [_box(part, has_batch=node.op != "get_attr") for part in kept]
            for part, own, box in zip(numbers, kept, boxes, strict=True):
                inside = torch.zeros_like(own)
                inside[torch.meshgrid(*box, indexing="ij")] = True
                lost = graph.class_of(part[inside & ~own])
                self.keep(lost.unique().tolist(), f"{_named(node)} needs whole rows, columns and channels")
            self.axes[node] = boxes
            self._ask(node, kept, wanted)

    def _entries(self, numbers: Tensor, asked: Tensor, node: fx.Node) -> Tensor:
        """Which entries of a value stay: those of classes that stay, and those without a unit that are asked for."""
        if node.op == "placeholder":
            return torch.ones_like(asked)
        classes = self.graph.class_of(numbers)
        return torch.where(classes < 0, asked, self.stays[classes.clamp(min=0)])

    def _ask(self, node: fx.Node, kept: list[Tensor], wanted: dict[fx.Node, list[Tensor]]) -> None:
        """Ask the sources of a node for the entries that it needs to make those that stay of it."""
        graph = self.graph
        if node.op == "output":
            asked = [[torch.ones_like(part, dtype=torch.bool) for part in graph.parts(graph.reach.numbers, source)]
                     for source in graph.sources(node)]  # fmt: skip
        elif node in graph.layers or node not in graph.reach.pullbacks:
            return  # a layer takes what is there
        else:
            device = graph.parts(graph.reach.numbers, node)[0].device
            own = [part.to(device, torch.int32) for part in kept]
            back = graph.reach.pullbacks[node](own[0] if isinstance(graph.reach.numbers[node], Tensor) else own)
            asked = [[one > 0 for one in (part if isinstance(part, list | tuple) else [part])] for part in back]
            if isinstance(graph.op(node), JoinedNorm):  # scale and shift carry nothing, but are needed
                asked[1:] = [[torch.ones_like(one) for one in parts] for parts in asked[1:]]
        for source, parts in zip(graph.sources(node), asked, strict=True):
            wanted[source] = [one.cpu() | other for one, other in zip(parts, wanted[source], strict=True)] if (
                source in wanted
            ) else [one.cpu() for one in parts]  # fmt: skip

    def _keep_counted(self) -> None:
        """Let all channels stay that a normalisation by the statistics of several of them counts."""
        for node in self.graph.nodes:
            if isinstance(self.graph.op(node), JoinedNorm):
                numbers = self.graph.parts(self.graph.reach.numbers, self.graph.sources(node)[0])[0]
                self.keep(self.graph.class_of(numbers).unique().tolist(), f"{_named(node)} counts them")

    def _keep_borders(self) -> None:
        """Fold constants into biases, and let those channels stay that add something else at the border of a map."""
        graph = self.graph
        for node, layer in graph.layers.items():
            (source,) = graph.sources(node)
            axis = _channel_axis(graph, node)
            value, matters = graph.values[source], graph.matters(source)[0]
            cut = torch.ones(value.shape[axis], dtype=torch.bool)
            cut[self.axes[source][0][axis]] = False
            channels = torch.nonzero(cut & matters.transpose(0, axis).flatten(1).any(1)).flatten()
            if cut.all():
                continue  # the output is constant
            shift, others = fold(layer, value, channels, self.axes[node][0][axis])
            self.shifts[node] = shift
            numbers = graph.parts(graph.reach.numbers, source)[0].transpose(0, axis).flatten(1)
            self.keep(graph.class_of(numbers[others]).unique().tolist(),
                      f"what they add to {_named(node)} differs at the border")  # fmt: skip

    def _keep_groups(self) -> None:
        """Let channels stay until all groups of a convolution have as many, and as many filters."""
        for node, layer in self.graph.layers.items():
            if not isinstance(self.graph.op(node), Convolution) or layer.groups == 1:
                continue
            ends = [(self.graph.sources(node)[0], layer.in_channels), (node, layer.out_channels)]
            kept = [self._by_group(end, count, layer.groups) for end, count in ends]
            used = torch.stack([part.any(1) for part in kept]).any(0)
            for (end, _), own in zip(ends, kept, strict=True):
                self._fill(end, own, used, f"groups of {_named(node)} are of one size")

    def _by_group(self, node: fx.Node, count: int, groups: int) -> Tensor:
        kept = torch.zeros(count, dtype=torch.bool)
        kept[self.axes[node][0][1]] = True
        return kept.reshape(groups, -1)

    def _fill(self, node: fx.Node, kept: Tensor, used: Tensor, reason: str) -> None:
        """Let more channels of each used group stay, the first ones, until it has as many as the largest."""
        size = max(1, int(kept.sum(1).max()))
        numbers = self.graph.parts(self.graph.reach.numbers, node)[0][0].flatten(1).amax(1).reshape(kept.shape)
        for group in torch.nonzero(used & (kept.sum(1) < size)).flatten().tolist():
            more = torch.nonzero(~kept[group]).flatten()[: size - int(kept[group].sum())]
            self.keep(self.graph.class_of(numbers[group, more]).unique().tolist(), reason)


def _live(graph: Graph) -> Tensor:
    """The classes with an entry that depends on the input and matters to an output, and the class of what stays."""
    stays = torch.zeros(len(graph.classes), dtype=torch.bool)
    stays[0] = True
    for node in graph.nodes:
        parts = zip(graph.parts(graph.reach.numbers, node), graph.varies(node), graph.matters(node), strict=True)
        for numbers, varies, matters in parts:
            live = graph.class_of(numbers[varies & matters])
            stays[live[live >= 0]] = True
    return stays


def _box(kept: Tensor, has_batch: bool) -> Axes:
    """The indices along each axis at which something stays; all images do."""
    box = [torch.nonzero(kept.transpose(0, axis).flatten(1).any(1) if kept.dim() > 1 else kept).flatten()
           for axis in range(kept.dim())]  # fmt: skip
    return [torch.arange(len(kept)), *box[1:]] if has_batch else box


def _channel_axis(graph: Graph, node: fx.Node) -> int:
    """The axis of the channels in the values that a layer reads and makes, from the first axis on."""
    return graph.op(node).channel_axis % graph.values[node].dim()  # type: ignore[attr-defined]


def _named(node: fx.Node) -> str:
    return str(node.target) if node.op == "call_module" else node.name
