"""Checkpoints of a training: saved when they are due, and loaded by an interrupted run that resumes."""

from collections.abc import Sequence
from typing import Any

from Utils.distributed.process_group import gathered, share
from Utils.training.callbacks import Callback
from Utils.training.context import TrainingStage
from Utils.training.state import TrainingState


class Checkpoints(Callback):
    """Saves and loads a training, with the states of its callbacks, in all processes that train together."""

    def __init__(self, stage: TrainingStage, callbacks: Sequence[Callback]) -> None:
        """Raises `ValueError` for two callbacks of one class, whose states could not be told apart."""
        self.stage = stage
        self.callbacks = {type(callback).__name__: callback for callback in callbacks}
        if len(self.callbacks) < len(callbacks):
            raise ValueError(f"two callbacks of one class in {', '.join(self.callbacks)}")

    def resume(self, training: TrainingState) -> bool:
        """Load the checkpoint of an interrupted training, if there is one of as many processes."""
        checkpoint = self.stage.context.agree(self.stage.load_checkpoint)
        if checkpoint is None or len(checkpoint["own"]) != share().of:
            return False
        training.load(checkpoint["shared"], checkpoint["own"][share().number])
        for name, callback in self.callbacks.items():
            callback.load(checkpoint["callbacks"][name])
        return True

    def finish_step(self, training: TrainingState) -> None:
        """Save a checkpoint if one is due; the clock of the first process decides for all processes."""
        if not self._is_due(training):
            return
        with training.clock.paused():
            own = gathered(training.own())
            self.stage.context.agree(lambda: self.stage.save_checkpoint(self._content(training, own)))

    def _is_due(self, training: TrainingState) -> bool:
        if not self.stage.is_timed:
            return self.stage.is_due(training.step, training.is_over)
        # The clock of another process would need a message in every step.
        return training.is_check_due and self.stage.context.agree(
            lambda: self.stage.is_due(training.step, training.is_over)
        )

    def _content(self, training: TrainingState, own: list[dict[str, Any]]) -> dict[str, Any]:
        states = {name: callback.state() for name, callback in self.callbacks.items()}
        return {"shared": training.shared(), "own": own, "callbacks": states}
