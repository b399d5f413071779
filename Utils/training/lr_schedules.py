"""Which learning rate does each step of training have?

Each schedule gives the rate of the step after `iteration` steps, as a multiple of `--lr`.
"""

import math
from collections.abc import Callable

from Utils.config.settings import Training

_LOW = 0.01
"""Where `swa` ends."""

_RISE, _START, _END = 0.3, 1 / 25, 1 / 25e4
"""One-cycle as in PyTorch: the share of steps in which it rises, and where it starts and ends."""


def learning_rate(training: Training, iteration: int) -> float:
    """The rate of the step after `iteration` steps, of a resolved recipe."""
    assert training.lr is not None
    warmed = min(1.0, (iteration + 1) / training.warmup) if training.warmup else 1.0
    return training.lr * warmed * SCHEDULES[training.lr_schedule or "step"](training, iteration)


def step(training: Training, iteration: int) -> float:
    """Drops by `--lr_drop_rate` at each of `--lr_drops`."""
    assert training.lr_drops is not None and training.lr_drop_rate is not None
    return training.lr_drop_rate ** sum(drop <= iteration for drop in training.lr_drops)


def constant(training: Training, iteration: int) -> float:
    """Always the same."""
    return 1.0


def cosine(training: Training, iteration: int) -> float:
    """Falls to 0 along half a cosine (Loshchilov & Hutter 2017)."""
    return (1 + math.cos(math.pi * _progress(training, iteration))) / 2


def swa(training: Training, iteration: int) -> float:
    """Constant for half of the run, then linearly to a hundredth at nine tenths (Izmailov et al. 2018)."""
    progress = _progress(training, iteration)
    return max(_LOW, min(1.0, 1 - (1 - _LOW) * (progress - 0.5) / 0.4))


def cyclic(training: Training, iteration: int) -> float:
    """Rises from 0 in so many steps, falls in so many, again and again (Smith 2017); `--lr_cycle` says in how many."""
    up, *rest = training.lr_cycle or (5000,)
    down = rest[0] if rest else up
    place = iteration % (up + down)
    return place / up if place < up else (up + down - place) / down


def one_cycle(training: Training, iteration: int) -> float:
    """Rises for 30% of the run, then falls, along cosines (Smith & Topin 2018)."""
    last = max(1, (training.iterations or 0) - 1)
    top = _RISE * (training.iterations or 0) - 1
    if iteration <= top:
        return _between(_START, 1.0, iteration / top if top else 1.0)
    return _between(1.0, _END, (iteration - top) / (last - top))


SCHEDULES: dict[str, Callable[[Training, int], float]] = {
    "step": step, "constant": constant, "cosine": cosine, "swa": swa, "cyclic": cyclic, "one-cycle": one_cycle,
}  # fmt: skip


def _progress(training: Training, iteration: int) -> float:
    return iteration / (training.iterations or 1)


def _between(start: float, end: float, share: float) -> float:
    return end + (start - end) / 2 * (1 + math.cos(math.pi * share))
