"""Hooks: what an experiment does while a network trains."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


def nothing(*arguments: object) -> None:
    """The hook that does nothing."""


@dataclass(frozen=True)
class Hooks:
    """What an experiment does while a network trains."""

    after_step: Callable[[int, torch.optim.Optimizer], None] = nothing
    """Called with the number of steps done, from the start on, before any test; may change weights and masks."""
    after_test: Callable[[dict[str, float]], None] = nothing
    """Called with every row of the history."""
    state: Callable[[], dict[str, Any]] = dict
    """What these functions remember, in tensors and plain values, to go on from."""
    restore: Callable[[Any], None] = nothing
    """Makes what `state` gave what they remember."""
    penalty: Callable[[], Tensor] | None = None
    """Added to the loss of each step, but not recorded."""
    only_looks: bool = False
    """Whether `after_step` changes nothing, so that masks are worked into the weights once."""

    @property
    def leave_masks(self) -> bool:
        """Whether masks stay what they are."""
        return self.only_looks or self.after_step is nothing


NO_HOOKS = Hooks()
