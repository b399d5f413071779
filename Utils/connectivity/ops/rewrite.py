"""Rewrite: one operation of the graph in the smaller network, for what stays of its inputs and of its output."""

import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn

Axes = list[Tensor]
"""Indices that stay, by axis."""

_OUT_OF_PLACE: dict[Any, Any] = {
    operator.iadd: operator.add, operator.isub: operator.sub, operator.imul: operator.mul,
    "add_": "add", "sub_": "sub", "mul_": "mul", "relu_": "relu", torch.relu_: torch.relu,
}  # fmt: skip


class CannotMoveError(Exception):
    """No call of an operation that moves entries gives what stays of its output."""


@dataclass
class Rewrite:
    """An operation with its arguments in the new graph; it adds a node there."""

    node: fx.Node
    """The operation in the graph of the masked network."""
    module: nn.Module | None
    """Its module, in double precision and with pruned entries 0; it stays as it is."""
    args: tuple
    kwargs: dict
    inputs: list[list[Axes]]
    """What stays of each input, of which some operations take sequences."""
    output: list[Axes]
    """What stays of the output; several of an operation that returns a sequence."""
    shift: Tensor | None
    """float64 (all units): what is to be added to the bias of a layer."""
    values: list[Any]
    """The inputs on one image, in the masked network: tensors, or sequences of tensors."""
    concrete: Callable[[Any, bool], Any]
    """Arguments of the old (False) or the new graph (True) with numbers in place of nodes that stand for numbers."""
    add_module: Callable[[nn.Module], fx.Node]
    """Adds a call of a new module with the arguments to the graph."""
    add_call: Callable[[str, Any, tuple, dict], fx.Node]
    """Adds a call of a kind (`call_function`, `call_method`, `call_module`)."""
    add_selection: Callable[[int, Tensor], fx.Node]
    """Adds a selection of indices along an axis of the first argument."""
    is_constant: Callable[[Any], bool]
    """Whether an argument is a constant that was spread over the batch."""

    def same(self) -> fx.Node:
        """The same operation; not in place on a constant, which is spread over the batch without memory of its own."""
        target = self.node.target
        if self.args and isinstance(self.args[0], fx.Node) and self.is_constant(self.args[0]):
            target = _OUT_OF_PLACE.get(target, target)
        return self.add_call(self.node.op, target, self.args, self.kwargs)


def chosen(values: Tensor, axes: Axes) -> Tensor:
    """What stays of a tensor."""
    for axis, indices in enumerate(axes):
        if len(indices) < values.shape[axis]:
            values = values.index_select(axis, indices.to(values.device))
    return values
