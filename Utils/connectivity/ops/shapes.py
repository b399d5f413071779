"""Operations that move entries: concatenation, indexing, reshaping, padding."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, fx

from Utils.connectivity.ops.call import Call, Pullback
from Utils.connectivity.ops.moving import move
from Utils.connectivity.ops.op import Op
from Utils.connectivity.ops.rewrite import Rewrite
from Utils.connectivity.ops.unit_record import UnitRecord
from Utils.errors import UserError


class Move(Op):
    """Any operation that only moves, copies or leaves out entries."""

    carries_entries = True

    def flow(self, call: Call) -> tuple[Any, Pullback]:
        """Apply the operation to the numbers of the entries, with 0 for padding, and look up their ranks."""
        (x,) = call.inputs
        # float64, because padding does not support integers; it represents all integers up to 2^53.
        numbers = torch.arange(1, x.numel() + 1, dtype=torch.float64, device=x.device).reshape(x.shape)
        moved = call.apply(numbers)
        parts = [moved] if isinstance(moved, Tensor) else list(moved)
        sources = [number.long() for number in parts]
        padded = F.pad(x.reshape(-1), (1, 0))
        outputs = [padded[source] for source in sources]

        def pullback(back: Any) -> list[Tensor]:
            backs = [back] if isinstance(moved, Tensor) else back
            origin = torch.cat([source.reshape(-1) for source in sources])
            ranks = torch.cat([part.reshape(-1) for part in backs])
            return [torch.zeros_like(padded).scatter_reduce_(0, origin, ranks, "amax")[1:].reshape(x.shape)]

        return outputs[0] if isinstance(moved, Tensor) else outputs, pullback

    def units(self, call: Call, record: UnitRecord) -> Any:
        """The same entries in other places carry the same units."""
        return self.flow(call)[0]

    def compact(self, rewrite: Rewrite) -> fx.Node:
        """A call that moves what stays of the input to what stays of the output, in the same order."""
        return move(rewrite)


class Concatenation(Move):
    """A concatenation of several activations, or of the tensors that one operation returned."""

    takes_parts = True

    def flow(self, call: Call) -> tuple[Tensor, Pullback]:
        """Concatenate the ranks."""
        axis = call.argument(1, "dim", 0)
        is_sequence = len(call.inputs) == 1 and not isinstance(call.inputs[0], Tensor)
        parts = list(call.inputs[0]) if is_sequence else call.inputs
        sizes = [part.shape[axis] for part in parts]

        def pullback(back: Tensor) -> list[Any]:
            backs = list(back.split(sizes, axis))
            return [backs] if is_sequence else backs

        return torch.cat(parts, axis), pullback

    def compact(self, rewrite: Rewrite) -> fx.Node:
        """The concatenation of the tensors of which something stays."""
        tensors, *rest = rewrite.args
        if isinstance(tensors, list | tuple):
            stays = [all(map(len, axes[0])) for axes in rewrite.inputs]
            kept = [one for one, is_kept in zip(tensors, stays, strict=True) if is_kept]
            rewrite.args = (kept, *rest)
        return rewrite.same()


class Part(Move):
    """`x[index]`, where x is a tensor, or the sequence of tensors that an operation returned."""

    takes_parts = True

    def flow(self, call: Call) -> tuple[Any, Pullback]:
        """Select the ranks."""
        operand, index = call.args
        if isinstance(operand, Tensor):
            return super().flow(call)
        positions = list(range(len(operand)))[index]

        def pullback(back: Any) -> list[Any]:
            backs = dict(zip(positions, back, strict=True)) if isinstance(positions, list) else {positions: back}
            return [[backs.get(position, torch.zeros_like(item)) for position, item in enumerate(operand)]]

        return operand[index], pullback

    def compact(self, rewrite: Rewrite) -> fx.Node:
        """The same part of a sequence, or what stays of a part of a tensor."""
        return move(rewrite) if isinstance(rewrite.values[0], Tensor) else rewrite.same()


class Padding(Move):
    """Padding with zeros, which start no path, or with copies of entries."""

    def flow(self, call: Call) -> tuple[Any, Pullback]:
        """Pad the ranks; raises `UserError` for a value other than zero."""
        if call.argument(3, "value"):
            raise UserError("no rule says how the operation pad, with a value other than zero, connects units")
        return super().flow(call)
