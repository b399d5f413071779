"""Learning rate schedules: the learning rate of each training step.

A schedule returns the rate of the step after `iteration` steps, as a multiple of `--lr`.
"""

import math
from collections.abc import Callable

from Utils.config.settings import Training

_LOW = 0.01
"""Final value of `swa`."""

_RISE, _START, _END = 0.3, 1 / 25, 1 / 25e4
"""Constants of `one-cycle` as in PyTorch: fraction of steps with a rising rate, first and last value."""


def learning_rate(training: Training, iteration: int) -> float:
    """Learning rate of the step after `iteration` steps, for a resolved recipe."""
    assert training.lr is not None
    warmed = min(1.0, (iteration + 1) / training.warmup) if training.warmup else 1.0
    return training.lr * warmed * SCHEDULES[training.lr_schedule or "step"](training, iteration)


def step(training: Training, iteration: int) -> float:
    """Multiplied by `--lr_drop_rate` at each step in `--lr_drops`."""
    assert training.lr_drops is not None and training.lr_drop_rate is not None
    return training.lr_drop_rate ** sum(drop <= iteration for drop in training.lr_drops)


def constant(training: Training, iteration: int) -> float:
    """Constant at 1."""
    return 1.0


def cosine(training: Training, iteration: int) -> float:
    """Falls to 0 along half a cosine (Loshchilov & Hutter 2017)."""
    return (1 + math.cos(math.pi * _progress(training, iteration))) / 2


def swa(training: Training, iteration: int) -> float:
    """Constant for half of the run, then linear to 0.01 at nine tenths of it (Izmailov et al. 2018)."""
    progress = _progress(training, iteration)
    return max(_LOW, min(1.0, 1 - (1 - _LOW) * (progress - 0.5) / 0.4))


def cyclic(training: Training, iteration: int) -> float:
    """Rises from 0 to 1 and falls back, repeatedly (Smith 2017); `--lr_cycle` gives the steps of rise and fall."""
    up, *rest = training.lr_cycle or (5000,)
    down = rest[0] if rest else up
    position = iteration % (up + down)
    return position / up if position < up else (up + down - position) / down


def one_cycle(training: Training, iteration: int) -> float:
    """Rises for 30% of the run, then falls, both along a cosine (Smith & Topin 2018)."""
    last = max(1, (training.iterations or 0) - 1)
    top = _RISE * (training.iterations or 0) - 1
    if iteration <= top:
        return _anneal(_START, 1.0, iteration / top if top else 1.0)
    return _anneal(1.0, _END, (iteration - top) / (last - top))


SCHEDULES: dict[str, Callable[[Training, int], float]] = {
    "step": step, "constant": constant, "cosine": cosine, "swa": swa, "cyclic": cyclic, "one-cycle": one_cycle,
}  # fmt: skip


def _progress(training: Training, iteration: int) -> float:
    return iteration / (training.iterations or 1)


def _anneal(start: float, end: float, fraction: float) -> float:
    return end + (start - end) / 2 * (1 + math.cos(math.pi * fraction))
