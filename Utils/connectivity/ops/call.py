"""Calls: one operation of the graph with ranks in place of activations, and the record of the passes."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from Utils.connectivity.ops.maxmin import INFINITE

Pullback = Callable[[Any], list[Any]]
"""Maps ranks at an operation's output to ranks at its inputs, in the order of the inputs."""


@dataclass
class PassRecord:
    """Collects effective ranks and kernel positions of a network's layers during the passes."""

    ranks: Mapping[str, Tensor]
    effective: dict[str, Tensor] = field(default_factory=dict)
    positions: dict[str, int] = field(default_factory=dict)

    def add(self, name: str, carried: Tensor) -> None:
        """Record the ranks that pass through a ranked parameter; the maximum over several uses counts."""
        effective = torch.minimum(self.ranks[name], carried.reshape(self.ranks[name].shape))
        self.effective[name] = torch.maximum(self.effective.get(name, effective), effective)

    def complete(self) -> dict[str, Tensor]:
        """Effective ranks of all ranked parameters; 0 for a parameter that no pass reached."""
        return {name: self.effective.get(name, torch.zeros_like(rank)) for name, rank in self.ranks.items()}


@dataclass
class Call:
    """One operation of the graph, with ranks in place of activations."""

    name: str
    """The operation as messages name it."""
    target: Any
    module: Any
    layer: str
    args: tuple
    kwargs: dict
    inputs: list[Any]
    per_channel: bool
    record: PassRecord
    nonzero: list[Any] | None
    """For each input, the highest thresholds at which entries can be nonzero; None unless an operation needs them."""

    def argument(self, position: int, keyword: str, default: Any = None) -> Any:
        """The argument of a function or method call, or the attribute of a module."""
        if self.module is not None:
            return getattr(self.module, keyword, default)
        return self.args[position] if len(self.args) > position else self.kwargs.get(keyword, default)

    def count_places(self, places: int) -> None:
        """Record the number of positions at which this layer's kernel is applied; several calls of a layer add up."""
        self.record.positions[self.layer] = self.record.positions.get(self.layer, 0) + places

    def parameter(self, name: str) -> str:
        """The full name of a parameter of this layer."""
        return f"{self.layer}.{name}" if self.layer else name

    def ranks(self, name: str) -> Tensor:
        """The ranks of a parameter of this layer; infinite if it is not prunable."""
        ranks = self.record.ranks.get(self.parameter(name))
        if ranks is not None:
            return ranks
        return torch.full(getattr(self.module, name).shape, INFINITE, dtype=torch.int32, device=self.inputs[0].device)

    def is_ranked(self, name: str) -> bool:
        """Whether a parameter of this layer is prunable."""
        return self.parameter(name) in self.record.ranks

    def with_inputs(self, inputs: list[Tensor]) -> "Call":
        """The same call with other tensors in place of its inputs, all of which can be nonzero at every threshold."""
        new = {id(value): other for value, other in zip(self.inputs, inputs, strict=True)}
        args = tuple(new.get(id(value), value) for value in self.args)
        kwargs = {name: new.get(id(value), value) for name, value in self.kwargs.items()}
        nonzero = [torch.full_like(value, INFINITE) for value in inputs]
        return replace(self, inputs=inputs, args=args, kwargs=kwargs, nonzero=nonzero)

    def apply(self, value: Tensor) -> Any:
        """Apply the operation to another value for its first input."""
        if self.module is not None:
            return self.module(value)
        if isinstance(self.target, str):
            return getattr(value, self.target)(*self.args[1:], **self.kwargs)
        return self.target(value, *self.args[1:], **self.kwargs)


def pair(value: Any) -> tuple:
    """A value per axis, for two axes: a single value is repeated."""
    return (value, value) if value is None or isinstance(value, int) else tuple(value)
