"""Rules of elementwise operations, sums and products."""

import torch
from torch import Tensor

from Utils.connectivity.ops.call import Call, Pullback, no_pullback
from Utils.connectivity.ops.maxmin import INFINITE
from Utils.errors import UserError


def pass_through(call: Call) -> tuple[Tensor, Pullback]:
    """Return the ranks of the input: the operation changes no connection."""
    return call.inputs[0], lambda back: [back]


def activation(call: Call) -> tuple[Tensor, Pullback]:
    """An elementwise function f passes all ranks; if f(0) is not 0, its output can be nonzero at every threshold."""
    (x,) = call.inputs
    if call.args[0] is not x:
        raise UserError(f"no rule says how the operation {call.target} on exponents connects units")
    if call.asks_nonzero:
        parameter = next(call.module.parameters(), None) if call.module is not None else None
        zeros = torch.zeros(x.shape, dtype=parameter.dtype if parameter is not None else None, device=x.device)
        return torch.where(call.apply(zeros) != 0, INFINITE, x), no_pullback
    return pass_through(call)


def add(call: Call) -> tuple[Tensor, Pullback]:
    """A sum or difference carries the maximum rank of its terms."""
    if len(call.inputs) == 1:
        (x,) = call.inputs
        constants = [argument for argument in call.args if not isinstance(argument, Tensor)]
        if call.asks_nonzero and any(constants):
            return torch.full_like(x, INFINITE), no_pullback
        return pass_through(call)
    left, right = call.inputs
    return torch.maximum(left, right), lambda back: [_unbroadcast(back, left), _unbroadcast(back, right)]


def multiply(call: Call) -> tuple[Tensor, Pullback]:
    """A product carries the ranks of each factor, up to the highest threshold at which the other can be nonzero."""
    if len(call.inputs) == 1:
        (x,) = call.inputs
        if any(argument == 0 for argument in call.args if not isinstance(argument, Tensor)):
            return torch.zeros_like(x), lambda back: [torch.zeros_like(x)]
        return pass_through(call)
    left, right = call.inputs
    if call.asks_nonzero:
        return torch.minimum(left, right), no_pullback
    assert call.nonzero is not None
    left_nonzero, right_nonzero = call.nonzero
    out = torch.maximum(torch.minimum(left, right_nonzero), torch.minimum(right, left_nonzero))

    def pullback(back: Tensor) -> list[Tensor]:
        to_left, to_right = torch.minimum(back, right_nonzero), torch.minimum(back, left_nonzero)
        return [_unbroadcast(to_left, left), _unbroadcast(to_right, right)]

    return out, pullback


def divide(call: Call) -> tuple[Tensor, Pullback]:
    """Division by a number changes no connection."""
    if len(call.inputs) != 1 or not isinstance(call.args[0], Tensor):
        raise UserError("no rule says how the operation divide, with a tensor as divisor, connects units")
    return pass_through(call)


def _unbroadcast(ranks: Tensor, like: Tensor) -> Tensor:
    ranks = ranks.reshape(-1, *ranks.shape[ranks.dim() - like.dim() :]).amax(0)
    repeated = [axis for axis in range(like.dim()) if like.shape[axis] == 1 and ranks.shape[axis] != 1]
    return ranks.amax(repeated, keepdim=True) if repeated else ranks
