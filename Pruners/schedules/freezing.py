"""Freezing schedule of a mask search: after which epochs entries are frozen out, and how many. Loads no PyTorch.

Sreenivasan et al. 2022 ("Rare gems"): every few epochs, the same share of the entries that are left, so that the last
time leaves the target density.
"""

import math
from dataclasses import dataclass

from Utils.config.target import Target
from Utils.errors import UserError


@dataclass(frozen=True)
class FreezingSchedule:
    """The epochs, counted from 0, after which entries are frozen out: the multiples of `every`, but not 0."""

    epochs: int
    """Epochs of the search."""
    every: int
    last: int | None = None
    """The last epoch that may be followed by freezing; None: the last of the search."""

    def __post_init__(self) -> None:
        """Raises `UserError`, with what is possible, if no epoch is followed by freezing."""
        if self.events < 1:
            most = min(self.epochs - 1, self.epochs if self.last is None else self.last)
            remedy = f"give at most {most}" if most > 0 else "search for at least 2 epochs"
            until = f" until epoch {self.last}" if self.last is not None else ""
            length = f"{self.epochs} epoch{'s' * (self.epochs != 1)}"
            raise UserError(
                f"--freeze_every={self.every} freezes nothing in a search of {length}{until}, because "
                f"nothing is frozen after epoch 0: {remedy}"
            )

    @property
    def events(self) -> int:
        """How often entries are frozen out."""
        last = self.epochs - 1 if self.last is None else min(self.last, self.epochs - 1)
        return last // self.every

    def is_due(self, epoch: int) -> bool:
        """Whether entries are frozen out after an epoch."""
        return 0 < epoch <= self.events * self.every and epoch % self.every == 0

    def event(self, epoch: int) -> int:
        """How often entries have been frozen out after an epoch, that of this epoch included."""
        return min(epoch // self.every, self.events)

    def rate(self, target: Target, initial: float = 1.0) -> float:
        """The share of the entries that are left, each time: 1 - (density / initial)^(1 / events).

        `initial`: the density before the first time, at least that of the target.
        """
        return 1 - (target.density / initial) ** (1 / self.events)


_ROUNDING_ERROR = 1e-12
"""Relative error of rates, which must not add an entry to a whole number: 1 - 0.42 is above 0.58."""


def counts(total: int, rate: float, events: int) -> list[int]:
    """Entries left after each of `events` times: each freezes out ceil(rate n) of n entries."""
    left = [total]
    for _ in range(events):
        left.append(left[-1] - frozen_count(left[-1], rate))
    return left[1:]


def frozen_count(left: int, rate: float) -> int:
    """Entries that are frozen out of those left."""
    return math.ceil(rate * left * (1 - _ROUNDING_ERROR))
