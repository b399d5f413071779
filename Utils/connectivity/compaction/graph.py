"""Graph of a network under compaction: the passes over it, and the values of what does not depend on the input."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx, nn
from torch.fx.node import map_aggregate, map_arg

from Layers import prunable, unmask
from Utils.connectivity.interpreter import Reach, node_op, reach
from Utils.connectivity.ops.op import Op
from Utils.connectivity.ops.weight_layers import WeightLayer
from Utils.connectivity.unit_groups import components, nodes_of


@dataclass(frozen=True)
class Graph:
    """A traced network in evaluation mode, with pruned entries 0, and what is known of its values."""

    model: nn.Module
    """A copy of plain layers in double precision."""
    reach: Reach
    modules: Mapping[str, nn.Module]
    values: Mapping[fx.Node, Any]
    """The value of each node on an input of zeros, as of any other input where `varies` is False."""

    @classmethod
    @torch.no_grad()
    def of(cls, model: nn.Module, input_shape: tuple[int, ...]) -> "Graph":
        """Trace a masked network, which stays as it is. Raises `UserError` as `propagate` does."""
        masks = {name: mask for name, (_, mask) in prunable(model).items()}
        own = reach(model, masks, input_shape)
        plain = unmask(copy.deepcopy(model)).eval().double().cpu()
        moved = Reach(
            own.graph, _on_cpu(own.forward), _on_cpu(own.backward), _on_cpu(own.numbers), own.pullbacks, own.record
        )
        runner = _Runner(plain, own.graph)
        runner.run(torch.zeros(1, *input_shape, dtype=torch.float64))
        modules = dict(plain.named_modules(remove_duplicate=False))
        return cls(plain, moved, modules, runner.values)

    @cached_property
    def nodes(self) -> list[fx.Node]:
        """All nodes, in order."""
        return list(self.reach.graph.nodes)

    @cached_property
    def layers(self) -> dict[fx.Node, Any]:
        """The calls of Linear and Conv2d layers."""
        return {node: self.modules[str(node.target)] for node in self.nodes if isinstance(self.op(node), WeightLayer)}

    @cached_property
    def ops(self) -> dict[fx.Node, Op]:
        """The operation of each node."""
        return {node: node_op(node, self.modules) for node in self.nodes}

    def op(self, node: fx.Node) -> Op:
        """The operation of a node."""
        return self.ops[node]

    def parts(self, values: Mapping[fx.Node, Any], node: fx.Node) -> list[Tensor]:
        """The tensors of a node's value; several if its operation returns a sequence."""
        value = values.get(node)
        found = list(value) if isinstance(value, tuple | list) else [value]
        return [part for part in found if isinstance(part, Tensor)]

    def sources(self, node: fx.Node) -> list[fx.Node]:
        """The nodes whose activations a node reads, in order and with repetitions."""
        inputs: list[fx.Node] = []
        map_arg((node.args, node.kwargs), inputs.append)
        return [source for source in inputs if self.parts(self.reach.numbers, source)]

    @cached_property
    def classes(self) -> np.ndarray:
        """For each number of a unit, the first unit of its class: units that are cut out together; 0 for what stays."""
        record = self.reach.record
        count = 1 + sum(map(len, record.numbers.values()))
        pairs = [np.zeros((2, 0), dtype=np.int64)]
        return components(
            count, np.concatenate([*pairs, *map(nodes_of, (*record.ties, *record.joins, *record.depthwise))], 1)
        )

    def varies(self, node: fx.Node) -> list[Tensor]:
        """Whether each entry of a node depends on the input."""
        return [part > 0 for part in self.parts(self.reach.forward, node)]

    def matters(self, node: fx.Node) -> list[Tensor]:
        """Whether an output depends on each entry of a node."""
        return [part > 0 for part in self.parts(self.reach.backward, node)]

    def class_of(self, numbers: Tensor) -> Tensor:
        """The class of each entry, from its number; -1 for an entry that carries no unit."""
        classes = torch.from_numpy(self.classes[nodes_of(numbers)])
        return torch.where(numbers == 0, -1, classes)


class _Runner(fx.Interpreter):
    """Runs a traced network, and keeps the value of every node."""

    def __init__(self, model: nn.Module, graph: fx.Graph) -> None:
        super().__init__(model, graph=graph, garbage_collect_values=False)
        self.values: dict[fx.Node, Any] = {}

    def run_node(self, n: fx.Node) -> Any:
        value = super().run_node(n)
        # A later operation may work in place.
        self.values[n] = value.clone() if isinstance(value, Tensor) else value
        return value


def _on_cpu(values: Mapping[fx.Node, Any]) -> dict[fx.Node, Any]:
    return {node: map_aggregate(value, lambda part: part.cpu() if isinstance(part, Tensor) else part)
            for node, value in values.items()}  # fmt: skip
