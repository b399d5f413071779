"""Base class of operations: what an operation means to connectivity, SynFlow, unit pruning, statistics, compaction.

An instance stands in `table.py` for all modules, functions and tensor methods of its kind. The defaults are those of an
operation that nothing is known of: no rule for ranks, and run as it is by SynFlow. Its units and its vertices in the
channel graph follow from its ranks.
"""

from enum import Enum
from typing import Any, ClassVar

import torch
from torch import fx

from Utils.connectivity.ops.call import Call, Pullback
from Utils.connectivity.ops.rewrite import Rewrite
from Utils.connectivity.ops.unit_record import UnitRecord
from Utils.connectivity.ops.vertex_record import VertexRecord
from Utils.errors import UserError


class Linearised(Enum):
    """What becomes of an operation in the positive linear network of SynFlow."""

    EXECUTED = "runs as it is"
    IDENTITY = "returns its input"
    GATE = "a product of two activations is a gate of value 1, any other product runs as it is"
    SCALE = "a batch normalisation becomes a positive factor per channel"
    REFUSED = "has no positive linear counterpart"


class Op:
    """One kind of operation; subclasses override the answers that differ."""

    linearised: ClassVar[Linearised] = Linearised.EXECUTED
    grows: ClassVar[bool] = False
    """Whether it adds up so many values that SynFlow rescales the result to stay in floating-point range."""
    takes_parts: ClassVar[bool] = False
    """Whether it accepts an operation's sequence of tensors as one input."""
    needs_nonzero: ClassVar[bool] = False
    """Whether `flow` reads `call.nonzero`: an edge is open only where another input can be other than zero."""
    carries_entries: ClassVar[bool] = False
    """Whether each output depends on a single entry of the input, so that it carries the same vertex."""
    needs_same_forward: ClassVar[bool] = False
    """Whether a subclass of the module with another forward method is refused; torch.fx traces into all others."""

    def flow(self, call: Call) -> tuple[Any, Pullback]:
        """The ranks of the output, and the pullback from ranks at the output to ranks at each input.

        Where paths meet, the maximum counts; along a path, the minimum. Raises `UserError` if it has no rule.
        """
        raise UserError(f"no rule says how the operation {call.name} connects units")

    def nonzero(self, call: Call) -> Any:
        """The highest threshold at which each entry of the output can be other than zero, for those of the inputs.

        By default, an entry can be nonzero where a path arrives. An operation overrides this if it makes something else
        of zeros.
        """
        return self.flow(call)[0]

    def units(self, call: Call, record: UnitRecord) -> Any:
        """The numbers of the units that the output carries; the inputs are numbers, too.

        By default, units that meet in an entry of the output, as paths do, are removed together, and the output carries
        the highest of their numbers.
        """
        numbers = call.inputs
        while True:
            output, pullback = self.flow(call.with_inputs(numbers))
            joined = [
                torch.where(own > 0, torch.maximum(own, met), own)
                for own, met in zip(numbers, pullback(output), strict=True)
            ]
            if all(map(torch.equal, joined, numbers)):
                break
            numbers = joined
        for own, highest in zip(call.inputs, numbers, strict=True):
            record.tie(own, highest)
        return output

    def vertices(self, call: Call, record: VertexRecord) -> Any:
        """The numbers of the vertices that the output carries; the inputs are numbers, too.

        By default, outputs with the same highest number share a new vertex, with an edge from each vertex that reaches
        one of them; outputs of an operation that carries entries keep their numbers.
        """
        output, pullback = self.flow(call)
        return output if self.carries_entries else record.join(call.inputs, output, pullback)

    def compact(self, rewrite: Rewrite) -> fx.Node:
        """The operation on what stays of its inputs; by default the same one."""
        return rewrite.same()


class UnknownOp(Op):
    """Any operation without an entry in the table, or one that has an entry for its linear counterpart only."""
