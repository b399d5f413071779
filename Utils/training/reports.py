"""Reports of a training: its progress bar, and the events that its run context sends."""

from tqdm import tqdm

from Utils.training.callbacks import Callback
from Utils.training.context import Evaluation, Progress, TrainingStage
from Utils.training.state import TrainingState


class Reports(Callback):
    """Shows the progress bar of a training, if its context has one, and sends progress and evaluations."""

    def __init__(self, stage: TrainingStage, label: str, steps: int) -> None:
        self.stage, context = stage, stage.context
        self.bar = tqdm(
            total=steps,
            desc=label,
            unit="step",
            disable=None if context.has_bar else True,
            dynamic_ncols=True,
            position=context.bars_above,
            leave=not context.bars_above,
        )

    def begin(self, step: int) -> None:
        """Start the bar at a step."""
        self.bar.initial = self.bar.n = step
        self.bar.refresh()

    def after_check(self, training: TrainingState, loss: float, top1: float) -> None:
        """Show and send the running loss and accuracy."""
        summary = f"loss {loss:.4f}, top-1 {top1:.4f}"
        self.bar.set_postfix_str(summary, refresh=False)
        self.bar.update(training.step - self.bar.n)
        self.stage.context.listener(Progress(training.step, training.task.recipe.iterations, summary))

    def after_test(self, training: TrainingState, member: int) -> None:
        """Send the new row of a history."""
        row = training.histories[member].last
        self.stage.context.listener(Evaluation(self.stage.training, row, member=member))
