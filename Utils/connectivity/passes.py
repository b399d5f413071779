"""Passes over the traced graph of a network: ranks, numbers of units or vertices in place of activations."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.fx.node import map_arg

from Utils.connectivity.ops.call import Call, PassRecord, Pullback
from Utils.connectivity.ops.maxmin import INFINITE
from Utils.connectivity.ops.op import Op
from Utils.connectivity.ops.table import UNKNOWN, module_op, target_op
from Utils.connectivity.ops.unit_record import UnitRecord
from Utils.connectivity.ops.vertex_record import VertexRecord
from Utils.connectivity.ops.weight_layers import Convolution, WeightLayer
from Utils.connectivity.tracing import trace
from Utils.errors import UserError, one_line

_QUERIES = ("size", "dim", "shape", "ndim", "dtype", "device")
"""Methods and attributes of an activation that return metadata, not another activation."""


@dataclass(frozen=True)
class Propagation:
    """Result of the two passes."""

    effective: dict[str, Tensor]
    """Effective ranks (int32) by parameter: min(own rank, forward rank before the entry, backward rank after it)."""
    output: int
    """The highest rank that reaches an output; 0 means that the network has collapsed."""
    inputs: Tensor
    """For each entry of the input, the highest rank with which it reaches an output (int32, shape of the input)."""
    positions: dict[str, int]
    """Number of positions at which each Linear and Conv2d layer applies its kernel to one input."""
    output_layers: frozenset[str]
    """Layers whose units are the network's outputs: no Linear or Conv2d follows them."""


@dataclass(frozen=True)
class Reach:
    """What each node of the graph has to do with inputs, outputs and units; by node, a tensor or a list of parts."""

    graph: fx.Graph
    forward: dict[fx.Node, Any]
    """int32: 0 where an entry does not depend on the input."""
    backward: dict[fx.Node, Any]
    """int32: 0 where no output depends on an entry."""
    numbers: dict[fx.Node, Any]
    """int32: the unit that an entry carries, as in `UnitRecord`."""
    pullbacks: dict[fx.Node, Pullback]
    record: UnitRecord


def node_op(node: fx.Node, modules: Mapping[str, nn.Module]) -> Op:
    """The operation of a node of a traced graph; `modules` are those of the model by name."""
    if node.op == "call_module":
        return module_op(modules[str(node.target)]) or UNKNOWN
    return target_op(_target(node)) if node.op in ("call_function", "call_method") else UNKNOWN


class Passes:
    """Forward and backward pass over one graph."""

    def __init__(
        self, model: nn.Module, ranks: Mapping[str, Tensor], input_shape: tuple[int, ...], per_channel: bool
    ) -> None:
        self.model, self.ranks, self.input_shape, self.per_channel = model, ranks, input_shape, per_channel
        self.graph = trace(model)
        self.modules = dict(model.named_modules(remove_duplicate=False))
        self.names = {id(module): name for name, module in model.named_modules()}
        parameter = next(model.parameters(), None)
        self.device = parameter.device if parameter is not None else torch.device("cpu")
        self.record = PassRecord(ranks)

    def run(self) -> Propagation:
        values, pullbacks = self._flowed()
        output, inputs = self._backward(values, pullbacks)
        return Propagation(self.record.complete(), output, inputs, self.record.positions, self.output_layers())

    def units(self) -> UnitRecord:
        """Send numbers of units through the graph, and record what becomes of them."""
        return self._numbered()[0]

    def reach(self) -> Reach:
        """Send ranks and numbers of units through the graph."""
        forward, pullbacks = self._flowed()
        back: dict[fx.Node, Any] = {}
        self._pull(forward, pullbacks, back)
        record, numbers = self._numbered()
        backward = {node: back.get(node, _map(torch.zeros_like, value)) for node, value in forward.items()
                    if any(isinstance(part, Tensor) for part in _parts(value))}  # fmt: skip
        return Reach(self.graph, forward, backward, numbers, pullbacks, record)

    def _flowed(self) -> tuple[dict[fx.Node, Any], dict[fx.Node, Pullback]]:
        """The ranks of each node, and the pullback of each operation."""
        pullbacks: dict[fx.Node, Pullback] = {}

        def flow(node: fx.Node, op: Op, call: Call) -> Any:
            ranks, pullbacks[node] = op.flow(call)
            return ranks

        return self._forward(flow, self.record, self._nonzero(), constant=0), pullbacks

    def _numbered(self) -> tuple[UnitRecord, dict[fx.Node, Any]]:
        """What becomes of units whatever is pruned, and the numbers of each node; those of outputs stay."""
        record = UnitRecord()
        numbers = self._forward(lambda node, op, call: op.units(call, record), PassRecord({}), None, constant=0)
        for node in self.graph.nodes:
            for source in _sources(node, numbers) if node.op == "output" else ():
                for part in _parts(numbers[source]):
                    record.tie(part, INFINITE)
        return record, numbers

    def vertices(self) -> VertexRecord:
        """Send numbers of vertices through the graph, and record what joins them.

        The input has a vertex per channel if the first layer is a convolution, else one per entry.
        """
        record = VertexRecord()
        operations = (node_op(node, self.modules) for node in self.graph.nodes)
        is_map = isinstance(next((op for op in operations if isinstance(op, WeightLayer)), None), Convolution)
        start = record.input(self.input_shape, is_map, self.device)
        values = self._forward(lambda node, op, call: op.vertices(call, record), self.record, None, 0, start)
        for node in self.graph.nodes:
            for source in _sources(node, values) if node.op == "output" else ():
                for part in _parts(values[source]):
                    record.end(part)
        return record

    def arrivals(self, start: Tensor) -> dict[str, Any]:
        """Send other ranks than infinite ones from the input, forward only."""
        values = self._forward(
            lambda node, op, call: op.flow(call)[0], self.record, self._nonzero(), 0, start[None].to(self.device)
        )
        return {node.name: value for node, value in values.items()}

    def _nonzero(self) -> dict[fx.Node, Any] | None:
        """The highest thresholds at which the entries of each node's value can be nonzero; None if none is needed."""
        if not any(node_op(node, self.modules).needs_nonzero for node in self.graph.nodes):
            return None
        unused = PassRecord(self.ranks)  # positions are counted in the pass over ranks
        return self._forward(lambda node, op, call: op.nonzero(call), unused, None, constant=INFINITE)

    def _forward(
        self,
        evaluate: Callable[[fx.Node, Op, Call], Any],
        record: PassRecord,
        nonzero: dict[fx.Node, Any] | None,
        constant: int,
        start: Tensor | None = None,
    ) -> dict[fx.Node, Any]:
        """The value of each node, by a function of its operation.

        `constant` is that of parameters and buffers, `start` that of the input, by default the infinite rank.
        """
        values: dict[fx.Node, Any] = {}
        for node in self.graph.nodes:
            if node.op == "placeholder":
                values[node] = start if start is not None and not values else self._input(node, is_first=not values)
            elif node.op == "get_attr":
                values[node] = self._constant(str(node.target), constant)
            elif node.op != "output":
                args, kwargs = map_arg((node.args, node.kwargs), values.__getitem__)
                sources = _sources(node, values)
                if not sources or _target(node) in _QUERIES:
                    values[node] = _evaluate(node, args, kwargs)
                    continue
                op, inputs = node_op(node, self.modules), [values[source] for source in sources]
                levels = [nonzero[source] for source in sources] if nonzero is not None else None
                call = self._call(node, args, kwargs, inputs, record, levels)
                if any(not isinstance(value, Tensor) for value in inputs) and not op.takes_parts:
                    raise UserError(f"no rule says how {call.name} connects several tensors at once")
                try:
                    values[node] = evaluate(node, op, call)
                except (RuntimeError, IndexError) as error:  # PyTorch's errors for shapes that do not fit
                    shape, reason = "x".join(map(str, self.input_shape)), one_line(error)
                    name = f"{type(self.model).__name__} does not run on an input of {shape}"
                    raise UserError(f"{name}: {call.name} fails ({reason}); give the shape without batch") from error
        return values

    def _call(
        self, node: fx.Node, args: tuple, kwargs: dict, inputs: list, record: PassRecord, nonzero: list | None
    ) -> Call:
        target = _target(node)
        module = self.modules[str(target)] if node.op == "call_module" else None
        operation = getattr(target, "__name__", str(target))
        if module is not None:
            operation = f"{type(module).__name__} ({target})"
        name, layer = f"{operation} of {type(self.model).__name__}", self.names.get(id(module), "")
        return Call(name, node.target, module, layer, args, kwargs, inputs, self.per_channel, record, nonzero)

    def _input(self, node: fx.Node, is_first: bool) -> Any:
        if is_first:
            return torch.full((1, *self.input_shape), INFINITE, dtype=torch.int32, device=self.device)
        if node.args:
            return node.args[0]
        raise UserError(f"{type(self.model).__name__} needs a second input, {node.name!r}; only one is supported")

    def _constant(self, name: str, rank: int) -> Any:
        """The ranks of a parameter or buffer in the graph: it starts no path, but can make a product nonzero."""
        value: Any = self.model
        for attribute in name.split("."):
            value = getattr(value, attribute)
        if not isinstance(value, Tensor):
            return value
        is_nonzero = torch.ones_like(value, dtype=torch.bool) if isinstance(value, nn.Parameter) else value != 0
        return is_nonzero.to(self.device, torch.int32) * rank

    def _backward(self, values: dict[fx.Node, Any], pullbacks: dict[fx.Node, Pullback]) -> tuple[int, Tensor]:
        """Pull back infinity from every output; returns the highest rank that reaches one, and those of the inputs."""
        back: dict[fx.Node, Any] = {}
        highest = self._pull(values, pullbacks, back, keeps=False)
        source = next(node for node in self.graph.nodes if node.op == "placeholder")
        inputs = back.get(source, torch.zeros_like(values[source]))
        return highest, inputs.reshape(self.input_shape)

    def _pull(
        self,
        values: dict[fx.Node, Any],
        pullbacks: dict[fx.Node, Pullback],
        back: dict[fx.Node, Any],
        keeps: bool = True,
    ) -> int:
        """Fill `back` with the ranks at each node, of which all but those of inputs are dropped unless `keeps`."""
        highest = 0
        for node in reversed(self.graph.nodes):
            if node.op == "output":
                for source in _sources(node, values):
                    back[source] = _map(lambda part: torch.full_like(part, INFINITE), values[source])
                    highest = max([highest, *(int(part.max()) for part in _parts(values[source]))])
            elif node in back and node in pullbacks:
                own = back[node] if keeps else back.pop(node)
                for source, ranks in zip(_sources(node, values), pullbacks[node](own), strict=True):
                    back[source] = _map(torch.maximum, back[source], ranks) if source in back else ranks
        return highest

    def output_layers(self) -> frozenset[str]:
        """Names of the layers without a subsequent Linear or Conv2d."""
        layers: set[str] = set()
        open_nodes: set[fx.Node] = set()
        for node in reversed(self.graph.nodes):
            if node.op == "output" or any(user in open_nodes for user in node.users):
                if isinstance(node_op(node, self.modules), WeightLayer):
                    layers.add(self.names[id(self.modules[str(node.target)])])
                else:
                    open_nodes.add(node)
        return frozenset(layers)


def _sources(node: fx.Node, values: dict[fx.Node, Any]) -> list[fx.Node]:
    """The input nodes with an activation as value, in order and with repetitions."""
    inputs: list[fx.Node] = []
    map_arg((node.args, node.kwargs), inputs.append)
    return [source for source in inputs if any(isinstance(part, Tensor) for part in _parts(values[source]))]


def _target(node: fx.Node) -> Any:
    """The function, or the name of the module, method or attribute."""
    return node.args[1] if node.target is getattr else node.target


def _evaluate(node: fx.Node, args: tuple, kwargs: dict) -> Any:
    if node.op == "call_method":
        return getattr(args[0], str(node.target))(*args[1:], **kwargs)
    assert callable(node.target)
    return node.target(*args, **kwargs)


def _parts(value: Any) -> list[Any]:
    return list(value) if isinstance(value, tuple | list) else [value]


def _map(function: Any, *values: Any) -> Any:
    if isinstance(values[0], tuple | list):
        return [function(*parts) for parts in zip(*values, strict=True)]
    return function(*values)
