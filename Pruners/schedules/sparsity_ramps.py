"""Sparsity ramps: sparsity of a network at each step of its training, for `--ramp`.

Each function returns the sparsity `step` steps after the start of a ramp.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Ramp:
    """A change of sparsity from `initial` at step `start` to `final` at step `end`."""

    shape: str
    start: int
    end: int
    initial: float
    final: float
    cycle: int
    """Steps per cycle of the cyclic shapes."""

    def sparsity(self, step: int) -> float:
        """The sparsity after `step` steps: 0 before `start`, `final` from `end` on."""
        if step < self.start:
            return 0.0
        return self.final if step >= self.end else SHAPES[self.shape](self, step - self.start)


def linear(ramp: Ramp, step: int) -> float:
    """From the initial to the final sparsity at a constant rate."""
    return ramp.initial + (ramp.final - ramp.initial) * step / (ramp.end - ramp.start)


def cubic(ramp: Ramp, step: int) -> float:
    """From the initial to the final sparsity at a decreasing rate (Zhu & Gupta 2017, equation 1)."""
    remaining = 1 - step / (ramp.end - ramp.start)
    return ramp.final + (ramp.initial - ramp.final) * remaining**3


def half_cycle(ramp: Ramp, step: int) -> float:
    """In every cycle, from 0 to the final sparsity along a quarter of a sine (union-mask program)."""
    return ramp.final * math.sin(math.pi / 2 * (step % ramp.cycle) / ramp.cycle)


def full_cycle(ramp: Ramp, step: int) -> float:
    """Along half of a sine, up to the final sparsity in one cycle and back to 0 in the next (union-mask program)."""
    return ramp.final * abs(math.sin(math.pi / 2 * step / ramp.cycle))


def constant(ramp: Ramp, step: int) -> float:
    """The final sparsity from step `start` on."""
    return ramp.final


SHAPES: dict[str, Callable[[Ramp, int], float]] = {
    "linear": linear, "cubic": cubic, "half-cycle": half_cycle, "full-cycle": full_cycle, "constant": constant,
}  # fmt: skip
