"""Interpreter: sends ranks through a network, forward from its inputs and backward from its outputs.

It runs over the model's `torch.fx` graph with (max, min) in place of (+, x): the value of an activation is the best,
over all paths from the inputs, of the worst rank on the path. `ops/table.py` lists how each operation carries ranks.
"""

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.fx.node import map_arg

from Utils.connectivity.ops.call import Call, PassRecord, Pullback, Rule
from Utils.connectivity.ops.maxmin import INFINITE
from Utils.connectivity.ops.table import is_product, is_weight_layer, module_rule, operation_rule, takes_parts
from Utils.errors import UserError

_QUERIES = ("size", "dim", "shape", "ndim", "dtype", "device")
"""Methods and attributes of an activation that are no activation."""


@dataclass(frozen=True)
class Propagation:
    """What the two passes found."""

    effective: dict[str, Tensor]
    """For each ranked parameter, int32 of its shape: min(own rank, forward rank before it, backward rank after it)."""
    output: int
    """The best rank that reaches an output; 0 means that the network has collapsed."""
    positions: dict[str, int]
    """For each Linear and Conv2d layer, at how many places its kernel is applied to one input."""
    output_layers: frozenset[str]
    """Layers whose units are the network's outputs: no further Linear or Conv2d follows."""


@torch.no_grad()
def propagate(
    model: nn.Module, ranks: Mapping[str, Tensor], input_shape: tuple[int, ...], per_channel: bool = False
) -> Propagation:
    """Send ranks through a model, once forward and once backward.

    `ranks` gives int32 tensors, 0 = pruned; parameters that are not named carry everything. `input_shape` is without
    the batch. `per_channel` forgets positions: a channel is reached as soon as one place of it is.
    Raises `UserError` for a model that torch.fx cannot trace and, by name, for an operation without a rule.
    """
    return _Passes(model, ranks, input_shape, per_channel).run()


def output_layers(model: nn.Module) -> frozenset[str]:
    """Names of the layers whose units are a model's outputs; raises `UserError` if torch.fx cannot trace it."""
    return _Passes(model, {}, (), per_channel=True).output_layers()


class _Tracer(fx.Tracer):
    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return module_rule(m) is not None or super().is_leaf_module(m, module_qualified_name)


def _defaults(model: nn.Module) -> dict[str, Any]:
    """Arguments beside the input, as they are where nobody gives them: code may ask whether they are given."""
    _, *further = inspect.signature(model.forward).parameters.values()
    return {item.name: item.default for item in further if item.default is not inspect.Parameter.empty}


def trace(model: nn.Module) -> fx.Graph:
    """The graph of a model, layers with a rule as its leaves; raises `UserError` if torch.fx cannot make one."""
    try:
        return _Tracer().trace(model, _defaults(model))
    except Exception as error:  # torch.fx raises many kinds, each for Python code that depends on the data
        message = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise UserError(f"{type(model).__name__} cannot be traced by torch.fx: {message}") from error


class _Passes:
    """The forward and the backward pass over one graph."""

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
        nonzero = None
        if any(is_product(node) for node in self.graph.nodes):
            nonzero, _ = self._forward(asks_nonzero=True)
        values, pullbacks = self._forward(nonzero=nonzero)
        output = self._backward(values, pullbacks)
        return Propagation(self.record.complete(), output, self.record.positions, self.output_layers())

    def _forward(
        self, asks_nonzero: bool = False, nonzero: dict[fx.Node, Any] | None = None
    ) -> tuple[dict[fx.Node, Any], dict[fx.Node, Pullback]]:
        """What paths carry to each node or, if asked, up to which rank a node can be other than zero at all."""
        values: dict[fx.Node, Any] = {}
        pullbacks: dict[fx.Node, Pullback] = {}
        for node in self.graph.nodes:
            if node.op == "placeholder":
                values[node] = self._input(node, is_first=not values)
            elif node.op == "get_attr":
                values[node] = self._constant(str(node.target), is_source=asks_nonzero)
            elif node.op != "output":
                args, kwargs = map_arg((node.args, node.kwargs), values.__getitem__)
                sources = _sources(node, values)
                if sources and not _is_query(node):
                    rule, module, layer = self._operation(node)
                    inputs = [values[source] for source in sources]
                    if any(not isinstance(value, Tensor) for value in inputs) and not takes_parts(rule):
                        raise UserError(f"no rule says how {_name(node.target)} connects several tensors at once")
                    levels = [nonzero[source] for source in sources] if nonzero is not None else None
                    values[node], pullbacks[node] = rule(
                        Call(node.target, module, layer, args, kwargs, inputs, self.per_channel, self.record,
                             asks_nonzero, levels)
                    )  # fmt: skip
                else:
                    values[node] = _evaluate(node, args, kwargs)
        return values, pullbacks

    def _input(self, node: fx.Node, is_first: bool) -> Any:
        if is_first:
            return torch.full((1, *self.input_shape), INFINITE, dtype=torch.int32, device=self.device)
        if node.args:
            return node.args[0]
        raise UserError(f"{type(self.model).__name__} needs a second input, {node.name!r}; only one is supported")

    def _constant(self, name: str, is_source: bool) -> Any:
        """A parameter or buffer used directly: it starts no path, but can make a product other than zero."""
        value: Any = self.model
        for part in name.split("."):
            value = getattr(value, part)
        if not isinstance(value, Tensor):
            return value
        live = torch.ones_like(value, dtype=torch.bool) if isinstance(value, nn.Parameter) else value != 0
        return live.to(self.device, torch.int32) * (INFINITE if is_source else 0)

    def _operation(self, node: fx.Node) -> tuple[Rule, nn.Module | None, str]:
        module = self.modules[str(node.target)] if node.op == "call_module" else None
        target = node.args[1] if node.target is getattr else node.target
        rule = module_rule(module) if module is not None else operation_rule(target)
        if rule is None:
            name = f"{type(module).__name__} ({node.target})" if module is not None else _name(target)
            raise UserError(f"no rule says how the operation {name} of {type(self.model).__name__} connects units")
        return rule, module, self.names[id(module)] if module is not None else ""

    def _backward(self, values: dict[fx.Node, Any], pullbacks: dict[fx.Node, Pullback]) -> int:
        """Pull back infinity from every output; returns the best rank that reached one."""
        back: dict[fx.Node, Any] = {}
        best = 0
        for node in reversed(self.graph.nodes):
            if node.op == "output":
                for source in _sources(node, values):
                    back[source] = _map(lambda part: torch.full_like(part, INFINITE), values[source])
                    best = max([best, *(int(part.max()) for part in _parts(values[source]))])
            elif node in back and node in pullbacks:
                for source, ranks in zip(_sources(node, values), pullbacks[node](back.pop(node)), strict=True):
                    back[source] = _map(torch.maximum, back[source], ranks) if source in back else ranks
        return best

    def output_layers(self) -> frozenset[str]:
        """Layers that no further Linear or Conv2d follows."""
        layers: set[str] = set()
        open_nodes: set[fx.Node] = set()
        for node in reversed(self.graph.nodes):
            if node.op == "output" or any(user in open_nodes for user in node.users):
                module = self.modules.get(str(node.target)) if node.op == "call_module" else None
                if module is not None and is_weight_layer(module):
                    layers.add(self.names[id(module)])
                else:
                    open_nodes.add(node)
        return frozenset(layers)


def _sources(node: fx.Node, values: dict[fx.Node, Any]) -> list[fx.Node]:
    """The activations that a node takes, in order, each as often as it is taken."""
    taken: list[fx.Node] = []
    map_arg((node.args, node.kwargs), taken.append)
    return [source for source in taken if any(isinstance(part, Tensor) for part in _parts(values[source]))]


def _is_query(node: fx.Node) -> bool:
    return (node.args[1] if node.target is getattr else node.target) in _QUERIES


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


def _name(target: Any) -> str:
    return target if isinstance(target, str) else getattr(target, "__name__", str(target))
