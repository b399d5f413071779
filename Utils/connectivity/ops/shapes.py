"""Operations that move entries: concatenation, indexing, reshaping, padding."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from Utils.connectivity.ops.call import Call, Pullback
from Utils.errors import UserError


def concatenate(call: Call) -> tuple[Tensor, Pullback]:
    """Parts side by side."""
    axis = call.argument(1, "dim", 0)
    is_whole = len(call.inputs) == 1 and not isinstance(call.inputs[0], Tensor)
    parts = list(call.inputs[0]) if is_whole else call.inputs
    sizes = [part.shape[axis] for part in parts]

    def pullback(back: Tensor) -> list[Any]:
        backs = list(back.split(sizes, axis))
        return [backs] if is_whole else backs

    return torch.cat(parts, axis), pullback


def part(call: Call) -> tuple[Any, Pullback]:
    """`x[index]`: of a tensor, or one or several of those that an operation returned."""
    whole, index = call.args
    if isinstance(whole, Tensor):
        return move(call)

    chosen = list(range(len(whole)))[index]

    def pullback(back: Any) -> list[Any]:
        backs = dict(zip(chosen, back, strict=True)) if isinstance(chosen, list) else {chosen: back}
        return [[backs.get(place, torch.zeros_like(other)) for place, other in enumerate(whole)]]

    return whole[index], pullback


def move(call: Call) -> tuple[Any, Pullback]:
    """Any operation that only moves entries: it is applied to their numbers, where 0 stands for padding."""
    (x,) = call.inputs
    # float64 because padding takes no integers; it holds every number up to 2^53.
    numbers = torch.arange(1, x.numel() + 1, dtype=torch.float64, device=x.device).reshape(x.shape)
    moved = call.apply(numbers)
    parts = [moved] if isinstance(moved, Tensor) else list(moved)
    sources = [number.long() for number in parts]
    padded = F.pad(x.reshape(-1), (1, 0))
    outputs = [padded[source] for source in sources]

    def pullback(back: Any) -> list[Tensor]:
        backs = [back] if isinstance(moved, Tensor) else back
        origin = torch.cat([source.reshape(-1) for source in sources])
        ranks = torch.cat([value.reshape(-1) for value in backs])
        return [torch.zeros_like(padded).scatter_reduce_(0, origin, ranks, "amax")[1:].reshape(x.shape)]

    return outputs[0] if isinstance(moved, Tensor) else outputs, pullback


def pad(call: Call) -> tuple[Any, Pullback]:
    """Padding with zeros, which are no source, or with copies."""
    if call.argument(3, "value"):
        raise UserError("no rule says how the operation pad, with a value other than zero, connects units")
    return move(call)
