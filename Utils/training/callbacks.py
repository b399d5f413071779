"""Callback: what an experiment does while a network trains, and what a training tells of."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from Utils.training.state import TrainingState


class Callback:
    """Part of a training: its methods do nothing by default.

    A step calls `before_forward`, `penalty`, `after_backward` and `after_step`, in this order, then, where they are
    due, `after_check` and `after_test`, and at last `finish_step`. `after_step` is also called before the first step of
    a training. Weights and masks may be changed in `after_step`, masks only in the form `Dynamic`.
    """

    def before_forward(self, training: TrainingState) -> None:
        """Prepare the weights for the forward pass of a step."""

    def penalty(self, training: TrainingState) -> Tensor | None:
        """A term that is added to the loss of a step, but not recorded."""
        return None

    def after_backward(self, training: TrainingState) -> None:
        """Change gradients before the step of the optimizer."""

    def after_step(self, training: TrainingState) -> None:
        """Follow a step of the optimizer."""

    def after_check(self, training: TrainingState, loss: float, top1: float) -> None:
        """Follow a check of the mean loss and accuracy since the last test."""

    def after_test(self, training: TrainingState, member: int) -> None:
        """Follow a test; the last row of `training.histories[member]` is new."""

    def finish_step(self, training: TrainingState) -> None:
        """End a step, after its check and its test."""

    def state(self) -> dict[str, Any]:
        """What a checkpoint holds of this callback, in tensors and plain values."""
        return {}

    def load(self, state: Mapping[str, Any]) -> None:
        """Restore a result of `state`."""
