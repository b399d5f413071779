"""How sparse is a network at each moment of its training?

Each ramp gives the sparsity after `step` steps from one that it starts with to the final one, for `--ramp`.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Ramp:
    """A change of sparsity from step `start` to step `end`, where `final` is reached."""

    shape: str
    start: int
    end: int
    initial: float
    final: float
    cycle: int
    """Steps of a cycle of the cyclic shapes."""

    def sparsity(self, step: int) -> float:
        """The sparsity after so many steps: none before `start`, the final one from `end` on."""
        if step < self.start:
            return 0.0
        return self.final if step >= self.end else SHAPES[self.shape](self, step - self.start)


def linear(ramp: Ramp, step: int) -> float:
    """Proportional to time."""
    return ramp.initial + (ramp.final - ramp.initial) * step / (ramp.end - ramp.start)


def cubic(ramp: Ramp, step: int) -> float:
    """Fast first, then slower and slower (Zhu & Gupta 2017, equation 1)."""
    left = 1 - step / (ramp.end - ramp.start)
    return ramp.final + (ramp.initial - ramp.final) * left**3


def half_cycle(ramp: Ramp, step: int) -> float:
    """From 0 to the final sparsity along a quarter of a sine, again and again (the union-mask program)."""
    return ramp.final * math.sin(math.pi / 2 * (step % ramp.cycle) / ramp.cycle)


def full_cycle(ramp: Ramp, step: int) -> float:
    """Up and down along half of a sine, again and again (the union-mask program)."""
    return ramp.final * abs(math.sin(math.pi / 2 * step / ramp.cycle))


def constant(ramp: Ramp, step: int) -> float:
    """The final sparsity from the start."""
    return ramp.final


SHAPES: dict[str, Callable[[Ramp, int], float]] = {
    "linear": linear, "cubic": cubic, "half-cycle": half_cycle, "full-cycle": full_cycle, "constant": constant,
}  # fmt: skip
