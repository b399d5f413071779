"""Softmax and normalisation by the statistics of an input: every output depends on all inputs of its group."""

from typing import Any, ClassVar

import torch
from torch import Tensor

from Utils.connectivity.ops.call import Call, Pullback
from Utils.connectivity.ops.maxmin import INFINITE
from Utils.connectivity.ops.op import Linearised, Op


class Softmax(Op):
    """Softmax or its logarithm, which SynFlow leaves out."""

    linearised = Linearised.IDENTITY

    def flow(self, call: Call) -> tuple[Tensor, Pullback]:
        """Join all entries along the axis."""
        (x,) = call.inputs
        axis = call.argument(1, "dim", -1)
        return x.amax(axis, keepdim=True).expand(x.shape), lambda back: [back.amax(axis, keepdim=True).expand(x.shape)]

    def nonzero(self, call: Call) -> Tensor:
        """Every output is nonzero at every threshold."""
        return torch.full_like(call.inputs[0], INFINITE)


class StatisticsNorm(Op):
    """Normalisation by the statistics of an input, for which no positive linear network exists; without a rule."""

    shift_argument: ClassVar[int] = 3
    """Position of the shift among the arguments of the function."""

    linearised = Linearised.REFUSED

    def nonzero(self, call: Call) -> Tensor:
        """With a shift, an output can be other than zero at every threshold; without one, where a path arrives."""
        ranks, _ = self.flow(call)
        has_shift = call.argument(self.shift_argument, "bias") is not None
        return torch.full_like(ranks, INFINITE) if has_shift else ranks


class LayerNorm(StatisticsNorm):
    """Layer normalisation: mean and variance are taken over the last axes."""

    def flow(self, call: Call) -> tuple[Tensor, Pullback]:
        """Join all entries along the last axes."""
        x, *constants = call.inputs
        axes = tuple(range(-len(call.argument(1, "normalized_shape")), 0))
        return _join_groups(x, x, axes, constants)


class GroupNorm(StatisticsNorm):
    """Group normalisation: mean and variance are taken over a group of channels."""

    def flow(self, call: Call) -> tuple[Tensor, Pullback]:
        """Join all entries of a group of channels."""
        x, *constants = call.inputs
        return _join_groups(x, x.reshape(1, call.argument(1, "num_groups"), -1), (-1,), constants)


def _join_groups(x: Tensor, grouped: Tensor, axes: tuple[int, ...], constants: list[Any]) -> tuple[Tensor, Pullback]:
    def join(ranks: Tensor) -> Tensor:
        return ranks.reshape(grouped.shape).amax(axes, keepdim=True).expand(grouped.shape).reshape(x.shape)

    # Scale and shift start no path.
    return join(x), lambda back: [join(back), *(torch.zeros_like(constant) for constant in constants)]
