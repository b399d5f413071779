"""Softmax and normalisation by the statistics of an input: every output depends on all inputs of its group."""

import math
from typing import ClassVar

import torch
from torch import Tensor

from Utils.connectivity.ops.call import Call, Pullback
from Utils.connectivity.ops.maxmin import INFINITE
from Utils.connectivity.ops.op import Linearised, Op
from Utils.connectivity.ops.unit_record import UnitRecord


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


class JoinedNorm(StatisticsNorm):
    """Normalisation by the mean and variance of groups of entries that follow each other."""

    def width(self, call: Call) -> int:
        """Number of entries in a group."""
        raise NotImplementedError

    def flow(self, call: Call) -> tuple[Tensor, Pullback]:
        """Join all entries of a group; scale and shift start no path."""
        x, *constants = call.inputs
        width = self.width(call)

        def join(ranks: Tensor) -> Tensor:
            groups = ranks.reshape(-1, width)
            return groups.amax(1, keepdim=True).expand(groups.shape).reshape(x.shape)

        return join(x), lambda back: [join(back), *(torch.zeros_like(constant) for constant in constants)]

    def units(self, call: Call, record: UnitRecord) -> Tensor:
        """Units of one group go one by one, up to the last, but leave their places, which show the statistics."""
        x = call.inputs[0]
        groups = x.reshape(-1, self.width(call))
        highest, lowest = groups.amax(1), torch.where(groups > 0, groups, INFINITE).amin(1)
        is_shared = lowest < highest
        for group in groups[is_shared].unique_consecutive(dim=0):
            record.keep_one(f"inputs of {call.name}", group)
        return highest.masked_fill(is_shared, INFINITE)[:, None].expand(groups.shape).reshape(x.shape)


class LayerNorm(JoinedNorm):
    """Layer normalisation: mean and variance are taken over the last axes."""

    def width(self, call: Call) -> int:
        """Size of the last axes."""
        return math.prod(call.argument(1, "normalized_shape"))


class GroupNorm(JoinedNorm):
    """Group normalisation: mean and variance are taken over a group of channels."""

    def width(self, call: Call) -> int:
        """Size of a group of channels."""
        return call.inputs[0].numel() // call.argument(1, "num_groups")
