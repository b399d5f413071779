"""Training loop: trains and tests a network; the only training loop of the project."""

import math
from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor

from Layers.forms.baked import Baked
from Layers.forms.weight_form import WeightForm
from Utils import randomness
from Utils.distributed import process_group
from Utils.distributed.batch_parts import BatchParts
from Utils.distributed.synchronised_layers import SynchronisedLayers
from Utils.training.callbacks import Callback
from Utils.training.checkpoints import Checkpoints
from Utils.training.context import RunContext
from Utils.training.evaluation import History, RunningScores, test_row
from Utils.training.lr_schedules import learning_rate
from Utils.training.optimizers import make_optimizer
from Utils.training.precision import Compute
from Utils.training.reports import Reports
from Utils.training.state import TrainingState
from Utils.training.task import TrainingTask


def train(
    task: TrainingTask, context: RunContext, form: WeightForm | None = None, callbacks: Sequence[Callback] = ()
) -> list[History]:
    """Train a network in place by a resolved recipe; test it before, every `evaluate_every` steps and at the end.

    `form` holds the weights meanwhile, by default with fixed masks. One history per member of the form is returned.
    Training stops when the loss is no longer finite, and `History.error` gives the reason. The network is left in
    evaluation mode. An interrupted training resumes from the checkpoint in the context and ends with the same result as
    without interruption. A progress bar is shown if the context has one and the error output is a terminal.
    """
    form, device = form or Baked(), next(task.model.parameters()).device
    dropout = randomness.generator(task.sample, "dropout")
    with randomness.isolated(dropout, device), Compute(task.model, task.machine) as compute, form.holding(task.model):
        return _Loop(task, context, form, callbacks, compute).run()


class _Loop:
    """One training: its network, its batches and its parts."""

    def __init__(
        self, task: TrainingTask, context: RunContext, form: WeightForm, callbacks: Sequence[Callback], compute: Compute
    ) -> None:
        self.task, self.model, self.data, self.recipe, self.form = task, task.model, task.data, task.recipe, form
        self.network = process_group.parallel(self.model)
        self.forward, self.forward_in_tests = compute.forward(self.network), compute.forward()
        self.parts = BatchParts(self.recipe.batch_size, self.recipe.accumulate)
        self.synchronised = SynchronisedLayers(self.model, self.recipe.batch_size, self.recipe.accumulate)
        running = RunningScores(self.data.train.labels.device)
        self.training = TrainingState(task, form, make_optimizer(form.parameters(), self.recipe), running, task.start)
        stage = context.stage(task.name)
        self.reports = Reports(stage, task.label, self.recipe.iterations)
        self.checkpoints = Checkpoints(stage, callbacks)
        self.callbacks = [*callbacks, self.reports, self.checkpoints]

    def run(self) -> list[History]:
        training = self.training
        with self.reports.bar:
            self._begin()
            self.model.train()
            training.clock.start()
            while not training.is_over:
                self._step()
                if training.is_check_due:
                    self._check()
                if training.is_test_due:
                    with training.clock.paused():
                        self._test()
                for callback in self.callbacks:
                    callback.finish_step(training)
        self.model.eval()
        return training.histories

    def _begin(self) -> None:
        """Resume the training from its checkpoint, or start it with a test."""
        is_resumed = self.checkpoints.resume(self.training)
        self.batches = self.data.training_batches(
            self.task.sample, self.recipe.batch_size, self.recipe.augmentation, self.parts.positions, self.training.step
        )
        self.reports.begin(self.training.step)
        if not is_resumed:
            for callback in self.callbacks:
                callback.after_step(self.training)
            self._test()

    def _step(self) -> None:
        training, optimizer = self.training, self.training.optimizer
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(self.recipe, training.step)
        self.form.before_forward()
        for callback in self.callbacks:
            callback.before_forward(training)
        optimizer.zero_grad(set_to_none=True)
        *parts, last = self.parts.split(*next(self.batches))
        with process_group.without_averaging(self.network):
            for number, part in enumerate(parts):
                self._backward(number, *part)
        self._backward(len(parts), *last)
        for penalty in (self.form.penalty(), *(callback.penalty(training) for callback in self.callbacks)):
            if penalty is not None:
                penalty.backward()
        for callback in self.callbacks:
            callback.after_backward(training)
        self.form.after_backward()
        optimizer.step()
        training.step += 1
        self.form.after_step()
        for callback in self.callbacks:
            callback.after_step(training)

    def _backward(self, part: int, images: Tensor, labels: Tensor) -> None:
        with self.synchronised.passing(part):
            outputs = self.forward(images)
        loss, weight = F.cross_entropy(outputs, labels), self.parts.weight(len(labels))
        (loss if weight == 1 else loss * weight).backward()
        self.training.running.add(loss, outputs, labels)

    def _check(self) -> None:
        """Stop a training that has diverged, and tell of its progress."""
        loss, top1 = self.training.running.means()
        if not math.isfinite(loss):
            reason = f"training diverged: the loss is not finite at iteration {self.training.step}"
            self.training.histories[0].error = reason
        for callback in self.callbacks:
            callback.after_check(self.training, loss, top1)

    def _test(self) -> None:
        """Test the network, and append a row to its history."""
        step, (loss, top1) = self.training.step, self.training.running.means()
        self.training.running.reset()
        row = {
            "iteration": step,
            "epoch": step / (len(self.data.train) // self.recipe.batch_size),
            "lr": learning_rate(self.recipe, max(step - 1, 0)),
            "train_loss": loss,
            "train_top1": top1,
            **test_row(self.model, self.data, self.recipe, self.forward_in_tests),
            "seconds": self.training.clock.seconds,
        }
        self.training.histories[0].rows.append(row)
        for callback in self.callbacks:
            callback.after_test(self.training, 0)
