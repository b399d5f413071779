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
    """Pairs (2, n) of numbers of units that meet; they are removed together."""
    depthwise: list[Tensor] = field(default_factory=list)
    """Pairs (2, n) of numbers of a unit and of the depthwise filter that reads it; they are removed together."""
    covers: list[tuple[str, Tensor]] = field(default_factory=list)
    """What reads or makes units, and their numbers (n,), with repetitions; at least one of them stays."""
    readers: dict[str, Tensor] = field(default_factory=dict)
    """Numbers (channels,) of the units in the channels of a parameter: a weight's inputs, or shifts; 0 for none."""
    joins: list[Tensor] = field(default_factory=list)
    """Pairs (2, n) of numbers of units in one channel of a parameter, which can be removed one by one."""

    def units(self, parameter: str, count: int, device: torch.device) -> Tensor:
        """Numbers (count,) of the units of a weight parameter; the same in each call of its layer."""
        if parameter not in self.numbers:
            first = 1 + sum(map(len, self.numbers.values()))
            self.numbers[parameter] = torch.arange(first, first + count, dtype=torch.int32, device=device)
        return self.numbers[parameter]

    def tie(self, first: Tensor, second: Tensor | int) -> None:
        """Tie units entry by entry; `INFINITE` keeps them from being removed."""
        self.ties.append(_differing(first, torch.as_tensor(second, device=first.device)))

    def read(self, parameter: str, entries: Tensor) -> None:
        """Record the units in the channels of a parameter, from the numbers of its entries (channels, positions)."""
        own = self.readers.get(parameter, torch.zeros_like(entries[:, 0]))
        channels = torch.maximum(own, entries.amax(1))
        self.joins += [_differing(other, channels[:, None]) for other in (own[:, None], entries)]
        self.readers[parameter] = channels

    def read_depthwise(self, units: Tensor, channels: Tensor) -> None:
        """Record that each unit (groups, units) is a filter of the only channel (groups, 1) of its group."""
        self.depthwise.append(_differing(units, channels))

    def keep_one(self, what: str, numbers: Tensor) -> None:
        """Demand that one unit of these stays; `what` reads or makes them."""
        self.covers.append((what, numbers[numbers > 0].cpu()))


def _differing(first: Tensor, second: Tensor) -> Tensor:
    """The distinct pairs (2, n) of numbers of two units in the same place, on the CPU."""
    left, right = torch.broadcast_tensors(first, second)
    differs = left != right
    return distinct_pairs(left[differs], right[differs]).cpu()


def distinct_pairs(left: Tensor, right: Tensor) -> Tensor:
    """The distinct pairs (2, n), int64, of entries of two tensors, in ascending order; without those that have a 0."""
    # A pair is packed into one integer; neighbours in a channel repeat it.
    packed = ((left.long() << 32) + right).flatten().unique_consecutive().unique()
    pairs = torch.stack([packed >> 32, packed % (1 << 32)])
    return pairs[:, (pairs > 0).all(0)]
