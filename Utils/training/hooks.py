"""Hooks: functions of an experiment, called while a network trains."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


def nothing(*arguments: object) -> None:
    """Hook without an effect."""


@dataclass(frozen=True)
class Hooks:
    """Functions of an experiment, called while a network trains."""

    after_step: Callable[[int, torch.optim.Optimizer], None] = nothing
    """Called before the first step and after each step, with the number of steps done, before any test.

    May change weights and masks.
    """
    after_test: Callable[[dict[str, float]], None] = nothing
    """Called with each new row of the history."""
    state: Callable[[], dict[str, Any]] = dict
    """Returns the state of these functions, in tensors and plain values, for a checkpoint."""
    restore: Callable[[Any], None] = nothing
    """Restores the state of these functions from a result of `state`."""
    penalty: Callable[[], Tensor] | None = None
    """Returns a penalty that is added to the loss of each step, but not recorded."""
    only_looks: bool = False
    """Whether `after_step` changes nothing, so that masks can be multiplied into the weights once."""

    @property
    def leave_masks(self) -> bool:
        """Whether masks are constant during training."""
        return self.only_looks or self.after_step is nothing


NO_HOOKS = Hooks()
