"""Unit groups: layers whose units can only be removed together.

A unit is an output of a linear layer, or a filter of a convolution. If the outputs of several layers are added, units
with the same index must be removed together. No unit can be removed if its layer's outputs are the network's outputs,
are multiplied, or are added out of alignment.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from torch import fx, nn

from Utils.connectivity.interpreter import node_op, trace
from Utils.connectivity.ops.op import UnitEffect


@dataclass(frozen=True)
class Origin:
    """The layers whose units are the channels of an activation."""

    layers: frozenset[str] = frozenset()
    is_aligned: bool = True
    """Whether channel j of the activation is unit j of each layer."""


def unit_groups(model: nn.Module) -> list[tuple[str, ...]]:
    """Names of the layers with removable units, in groups; the layers of a group share every removal.

    Excluded are output layers, layers whose outputs are multiplied, and layers whose outputs are added to channels that
    are not the aligned units of a layer, such as the network's input. Raises `UserError` if torch.fx cannot trace the
    model.
    """
    graph, modules = trace(model), dict(model.named_modules(remove_duplicate=False))
    names = {id(module): name for name, module in model.named_modules()}
    origins: dict[fx.Node, Origin] = {}
    layers: dict[str, None] = {}  # in the order of the graph
    ties = _Ties()
    for node in graph.nodes:
        inputs = [origins[source] for source in node.all_input_nodes if source in origins]
        effect = node_op(node, modules).unit_effect
        if node.op == "output" or effect is UnitEffect.FIXES:
            ties.fix(inputs)
        if node.op == "placeholder":
            origins[node] = Origin(frozenset({_INPUT}))
            ties.fix([origins[node]])
        elif effect is UnitEffect.STARTS:
            name = names[id(modules[str(node.target)])]
            layers.setdefault(name)
            origins[node] = Origin(frozenset({name}))
        elif inputs:
            merged = frozenset().union(*(origin.layers for origin in inputs))
            is_aligned = all(origin.is_aligned for origin in inputs)
            if effect is UnitEffect.SUMS and len(inputs) > 1:
                ties.join(merged)
                if not is_aligned:
                    ties.fix(inputs)
            origins[node] = Origin(merged, is_aligned and effect in (UnitEffect.SUMS, UnitEffect.KEEPS))
    return ties.groups(layers)


_INPUT = "the network's input"


class _Ties:
    """Union-find over layers that share removals, and the names of layers without removable units."""

    def __init__(self) -> None:
        self.leader: dict[str, str] = {}
        self.fixed: set[str] = set()

    def join(self, names: Iterable[str]) -> None:
        first, *others = (self._find(name) for name in sorted(names))
        for other in others:
            self.leader[other] = first

    def fix(self, origins: Iterable[Origin]) -> None:
        self.fixed.update(*(origin.layers for origin in origins))

    def groups(self, layers: Iterable[str]) -> list[tuple[str, ...]]:
        groups: dict[str, list[str]] = {}
        for name in layers:
            groups.setdefault(self._find(name), []).append(name)
        fixed = {self._find(name) for name in self.fixed}
        return [tuple(group) for leader, group in groups.items() if leader not in fixed]

    def _find(self, name: str) -> str:
        while self.leader.get(name, name) != name:
            name = self.leader[name]
        return name
