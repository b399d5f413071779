"""Which units of a network share one fate?

A unit is an output of a linear layer, or a filter of a convolution. Where the outputs of layers are added, the same
channel of each can be removed only together; where they are the network's outputs, or meet in another way, not at all.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from torch import fx, nn

from Utils.connectivity.interpreter import trace
from Utils.connectivity.ops.table import is_alike, is_product, is_sum, is_weight_layer


@dataclass(frozen=True)
class Origin:
    """The layers whose units are the channels of an activation, and whether channel j of it is unit j of each."""

    layers: frozenset[str] = frozenset()
    is_aligned: bool = True


def unit_groups(model: nn.Module) -> list[tuple[str, ...]]:
    """Names of layers with units that can be removed; those in one group share every decision.

    Left out are output layers, those whose outputs are multiplied, and those that are added to what is no layer's
    output. Raises `UserError` if torch.fx cannot trace the model.
    """
    graph, modules = trace(model), dict(model.named_modules(remove_duplicate=False))
    names = {id(module): name for name, module in model.named_modules()}
    origins: dict[fx.Node, Origin] = {}
    layers: dict[str, int] = {}
    ties = _Ties()
    for node in graph.nodes:
        taken = [origins[source] for source in node.all_input_nodes if source in origins]
        module = modules.get(str(node.target)) if node.op == "call_module" else None
        if node.op == "output" or is_product(node):
            ties.fix(taken)
        if node.op == "placeholder":
            origins[node] = Origin(frozenset({_INPUT}))
            ties.fix([origins[node]])
        elif module is not None and is_weight_layer(module):
            name = names[id(module)]
            layers[name] = len(module.weight)  # type: ignore[arg-type]
            origins[node] = Origin(frozenset({name}))
        elif taken:
            joined = frozenset().union(*(origin.layers for origin in taken))
            is_aligned = all(origin.is_aligned for origin in taken)
            if is_sum(node) and len(taken) > 1:
                ties.join(joined)
                if not is_aligned:
                    ties.fix(taken)
            origins[node] = Origin(joined, is_aligned and (is_sum(node) or is_alike(node, module)))
    return ties.groups(layers)


_INPUT = "the network's input"


class _Ties:
    """Sets of layers that share decisions, and those that nothing may be removed from."""

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
        found: dict[str, list[str]] = {}
        for name in layers:
            found.setdefault(self._find(name), []).append(name)
        fixed = {self._find(name) for name in self.fixed}
        return [tuple(group) for leader, group in found.items() if leader not in fixed]

    def _find(self, name: str) -> str:
        while self.leader.get(name, name) != name:
            name = self.leader[name]
        return name
