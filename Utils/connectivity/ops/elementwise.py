"""Elementwise operations: activations, sums and products."""

import copy

import torch
from torch import Tensor, fx, nn

from Utils.connectivity.ops.call import Call, Pullback
from Utils.connectivity.ops.maxmin import INFINITE
from Utils.connectivity.ops.op import Linearised, Op
from Utils.connectivity.ops.rewrite import Rewrite
from Utils.connectivity.ops.vertex_record import VertexRecord
from Utils.errors import UserError


class PassThrough(Op):
    """An operation that changes no connection, such as dropout or a cast."""

    carries_entries = True

    def flow(self, call: Call) -> tuple[Tensor, Pullback]:
        """Return the ranks of the input."""
        return call.inputs[0], lambda back: [back]


class Arithmetic(PassThrough):
    """An elementwise function of one tensor; SynFlow computes it as it is."""

    def flow(self, call: Call) -> tuple[Tensor, Pullback]:
        """Return the ranks of the input; raises `UserError` for an activation as exponent."""
        if call.args[0] is not call.inputs[0]:
            raise UserError(f"no rule says how the operation {call.target} on exponents connects units")
        return super().flow(call)

    def nonzero(self, call: Call) -> Tensor:
        """If f(0) is not 0, the output can be nonzero at every threshold."""
        ranks, _ = self.flow(call)
        parameter = next(call.module.parameters(), None) if call.module is not None else None
        zeros = torch.zeros(ranks.shape, dtype=parameter.dtype if parameter is not None else None, device=ranks.device)
        return torch.where(call.apply(zeros) != 0, INFINITE, ranks)


class Activation(Arithmetic):
    """An activation function, which SynFlow leaves out."""

    linearised = Linearised.IDENTITY

    def compact(self, rewrite: Rewrite) -> fx.Node:
        """The same function, with the slopes of the channels that stay if each channel has one."""
        if not isinstance(rewrite.module, nn.PReLU) or rewrite.module.num_parameters == 1:
            return rewrite.same()
        small = copy.deepcopy(rewrite.module)
        small.weight = nn.Parameter(small.weight.detach()[rewrite.output[0][1]])
        small.num_parameters = len(small.weight)
        return rewrite.add_module(small)


class Difference(Op):
    """A difference of two activations, or of an activation and a constant."""

    def flow(self, call: Call) -> tuple[Tensor, Pullback]:
        """Carry the maximum rank of both terms."""
        if len(call.inputs) == 1:
            return call.inputs[0], lambda back: [back]
        left, right = call.inputs
        return torch.maximum(left, right), lambda back: [_unbroadcast(back, left), _unbroadcast(back, right)]

    def nonzero(self, call: Call) -> Tensor:
        """A sum with a constant other than 0 can be nonzero at every threshold."""
        ranks, _ = self.flow(call)
        constants = [argument for argument in call.args if not isinstance(argument, Tensor)]
        return torch.full_like(ranks, INFINITE) if len(call.inputs) == 1 and any(constants) else ranks

    def vertices(self, call: Call, record: VertexRecord) -> Tensor:
        """New vertices where two activations meet; a constant changes no vertex."""
        return super().vertices(call, record) if len(call.inputs) == 2 else call.inputs[0]


class Sum(Difference):
    """A sum of two activations, or of an activation and a constant."""

    grows = True


class Product(Op):
    """A product of two activations, or of an activation and a constant."""

    linearised = Linearised.GATE
    needs_nonzero = True

    def flow(self, call: Call) -> tuple[Tensor, Pullback]:
        """Carry the ranks of each factor, up to the highest threshold at which the other can be nonzero."""
        if len(call.inputs) == 1:
            return self._multiple(call)
        left, right = call.inputs
        assert call.nonzero is not None
        left_nonzero, right_nonzero = call.nonzero
        out = torch.maximum(torch.minimum(left, right_nonzero), torch.minimum(right, left_nonzero))

        def pullback(back: Tensor) -> list[Tensor]:
            to_left, to_right = torch.minimum(back, right_nonzero), torch.minimum(back, left_nonzero)
            return [_unbroadcast(to_left, left), _unbroadcast(to_right, right)]

        return out, pullback

    def nonzero(self, call: Call) -> Tensor:
        """A product can be nonzero where both factors can."""
        return torch.minimum(*call.inputs) if len(call.inputs) == 2 else self._multiple(call)[0]

    def vertices(self, call: Call, record: VertexRecord) -> Tensor:
        """Those of the gated factor: the larger one, or the second of two equal size, as in SynFlow.

        The gate counts as open. A factor that carries nothing, such as a parameter, is a gate, whatever its size.
        """
        if len(call.inputs) == 1:
            return self._multiple(call)[0]
        gate, gated = sorted(call.inputs, key=lambda factor: (bool(factor.any()), factor.numel()))
        return gated.expand(torch.broadcast_shapes(gate.shape, gated.shape))

    def _multiple(self, call: Call) -> tuple[Tensor, Pullback]:
        (x,) = call.inputs
        if any(argument == 0 for argument in call.args if not isinstance(argument, Tensor)):
            return torch.zeros_like(x), lambda back: [torch.zeros_like(x)]
        return x, lambda back: [back]


class Division(Op):
    """A division by a number."""

    carries_entries = True

    def flow(self, call: Call) -> tuple[Tensor, Pullback]:
        """Return the ranks of the input; raises `UserError` for an activation as divisor."""
        if len(call.inputs) != 1 or not isinstance(call.args[0], Tensor):
            raise UserError("no rule says how the operation divide, with a tensor as divisor, connects units")
        return call.inputs[0], lambda back: [back]


def _unbroadcast(ranks: Tensor, like: Tensor) -> Tensor:
    ranks = ranks.reshape(-1, *ranks.shape[ranks.dim() - like.dim() :]).amax(0)
    repeated = [axis for axis in range(like.dim()) if like.shape[axis] == 1 and ranks.shape[axis] != 1]
    return ranks.amax(repeated, keepdim=True) if repeated else ranks
