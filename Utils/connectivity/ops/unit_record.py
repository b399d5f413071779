"""Unit record: the units of a network's layers by number, which share their fate, and sets that cannot go entirely.

In the place of activations, operations carry int32 tensors of numbers: an entry that carries a unit has its number,
`INFINITE` marks what cannot be removed, and 0 an entry that carries nothing, such as padding or a constant.
"""

from dataclasses import dataclass, field

import torch
from torch import Tensor


@dataclass
class UnitRecord:
    """Collects what the operations of a network say about the units of its layers."""

    numbers: dict[str, Tensor] = field(default_factory=dict)
    """Numbers (units,) of a layer's units by its weight parameter, from 1 in the order of the graph."""
    ties: list[Tensor] = field(default_factory=list)
    """Pairs (2, n) of numbers; units that are tied are removed together."""
    covers: list[tuple[str, Tensor]] = field(default_factory=list)
    """What reads or makes units, and their numbers (n,), with repetitions; at least one of them stays."""

    def units(self, parameter: str, count: int, device: torch.device) -> Tensor:
        """Numbers (count,) of the units of a weight parameter; the same in each call of its layer."""
        if parameter not in self.numbers:
            first = 1 + sum(map(len, self.numbers.values()))
            self.numbers[parameter] = torch.arange(first, first + count, dtype=torch.int32, device=device)
        return self.numbers[parameter]

    def tie(self, first: Tensor, second: Tensor | int) -> None:
        """Tie units entry by entry; `INFINITE` keeps them from being removed."""
        left, right = torch.broadcast_tensors(first.long(), torch.as_tensor(second, device=first.device))
        differs = (left != right) & (left > 0) & (right > 0)
        # A pair is packed into one integer; neighbours in a channel repeat it.
        packed = ((left[differs] << 32) + right[differs]).unique_consecutive().unique()
        self.ties.append(torch.stack([packed >> 32, packed % (1 << 32)]).cpu())

    def keep_one(self, what: str, numbers: Tensor) -> None:
        """Demand that one unit of these stays; `what` reads or makes them."""
        self.covers.append((what, numbers[numbers > 0].cpu()))
