"""Rules of softmax and of normalisation over units: every output depends on all inputs of its group."""

from typing import Any

import torch
from torch import Tensor

from Utils.connectivity.ops.call import Call, Pullback, no_pullback
from Utils.connectivity.ops.maxmin import INFINITE


def softmax(call: Call) -> tuple[Tensor, Pullback]:
    """Every output depends on all inputs along the axis, and is nonzero at every threshold."""
    (x,) = call.inputs
    axis = call.argument(1, "dim", -1)
    if call.asks_nonzero:
        return torch.full_like(x, INFINITE), no_pullback
    return x.amax(axis, keepdim=True).expand(x.shape), lambda back: [back.amax(axis, keepdim=True).expand(x.shape)]


def layer_norm(call: Call) -> tuple[Tensor, Pullback]:
    """Mean and variance are taken over the last axes, so every output depends on all inputs along them."""
    x, *constants = call.inputs
    axes = tuple(range(-len(call.argument(1, "normalized_shape")), 0))
    return _join_groups(x, x, axes, constants)


def group_norm(call: Call) -> tuple[Tensor, Pullback]:
    """Mean and variance are taken over a group of channels, so every output depends on all inputs of its group."""
    x, *constants = call.inputs
    return _join_groups(x, x.reshape(1, call.argument(1, "num_groups"), -1), (-1,), constants)


def _join_groups(x: Tensor, grouped: Tensor, axes: tuple[int, ...], constants: list[Any]) -> tuple[Tensor, Pullback]:
    def join(ranks: Tensor) -> Tensor:
        return ranks.reshape(grouped.shape).amax(axes, keepdim=True).expand(grouped.shape).reshape(x.shape)

    # Scale and shift start no path.
    return join(x), lambda back: [join(back), *(torch.zeros_like(constant) for constant in constants)]
