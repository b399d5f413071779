"""Learning rate schedules: the learning rate of each training step.

A schedule returns the rate of the step after `iteration` steps, as a multiple of `--lr`.
"""

import math
from collections.abc import Callable

from Utils.config.resolved import Recipe

_LOW = 0.01
"""Final value of `swa`."""

_RISE, _START, _END = 0.3, 1 / 25, 1 / 25e4
"""Constants of `one-cycle` as in PyTorch: fraction of steps with a rising rate, first and last value."""


def learning_rate(recipe: Recipe, iteration: int) -> float:
    """Learning rate of the step after `iteration` steps, for a resolved recipe."""
    warmed = min(1.0, (iteration + 1) / recipe.warmup) if recipe.warmup else 1.0
    return recipe.lr * warmed * SCHEDULES[recipe.lr_schedule](recipe, iteration)


def step(recipe: Recipe, iteration: int) -> float:
    """Multiplied by `--lr_drop_rate` at each step in `--lr_drops`."""
    return recipe.lr_drop_rate ** sum(drop <= iteration for drop in recipe.lr_drops)


def constant(recipe: Recipe, iteration: int) -> float:
    """Constant at 1."""
    return 1.0


def cosine(recipe: Recipe, iteration: int) -> float:
    """Falls to 0 along half a cosine (Loshchilov & Hutter 2017)."""
    return (1 + math.cos(math.pi * _progress(recipe, iteration))) / 2


def swa(recipe: Recipe, iteration: int) -> float:
    """Constant for half of the run, then linear to 0.01 at nine tenths of it (Izmailov et al. 2018)."""
    progress = _progress(recipe, iteration)
    return max(_LOW, min(1.0, 1 - (1 - _LOW) * (progress - 0.5) / 0.4))


def cyclic(recipe: Recipe, iteration: int) -> float:
    """Rises from 0 to 1 and falls back, repeatedly (Smith 2017); `--lr_cycle` gives the steps of rise and fall."""
    up, *rest = recipe.lr_cycle
    down = rest[0] if rest else up
    position = iteration % (up + down)
    return position / up if position < up else (up + down - position) / down


def one_cycle(recipe: Recipe, iteration: int) -> float:
    """Rises for 30% of the run, then falls, both along a cosine (Smith & Topin 2018)."""
    last = max(1, recipe.iterations - 1)
    top = _RISE * recipe.iterations - 1
    if iteration <= top:
        return _anneal(_START, 1.0, iteration / top if top else 1.0)
    return _anneal(1.0, _END, (iteration - top) / (last - top))


SCHEDULES: dict[str, Callable[[Recipe, int], float]] = {
    "step": step, "constant": constant, "cosine": cosine, "swa": swa, "cyclic": cyclic, "one-cycle": one_cycle,
}  # fmt: skip


def _progress(recipe: Recipe, iteration: int) -> float:
    return iteration / max(1, recipe.iterations)


def _anneal(start: float, end: float, fraction: float) -> float:
    return end + (start - end) / 2 * (1 + math.cos(math.pi * fraction))
