"""Training loop: trains and tests a network; the only training loop of the project."""

import math
import time
from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm import tqdm

from Layers.forms.baked import baked_masks
from Utils import randomness
from Utils.distributed import process_group
from Utils.distributed.synchronised_layers import SynchronisedLayers
from Utils.errors import UserError
from Utils.training.context import RunContext, TrainingStage
from Utils.training.evaluation import History, test_row
from Utils.training.hooks import NO_HOOKS, Hooks, nothing
from Utils.training.lr_schedules import learning_rate
from Utils.training.optimizers import make_optimizer
from Utils.training.precision import Compute
from Utils.training.task import TrainingTask

_CHECK_EVERY = 50
"""Steps between checks of the running loss: each check makes the host wait for the device."""


def train(task: TrainingTask, context: RunContext, hooks: Hooks = NO_HOOKS) -> History:
    """Train a network in place by a resolved recipe; test it before, every `evaluate_every` steps and at the end.

    Training stops when the loss is no longer finite, and `History.error` gives the reason. The network is left in
    evaluation mode. An interrupted training resumes from the checkpoint in the context and ends with the same result as
    without interruption. A progress bar is shown if the context has one and the error output is a terminal.
    """
    device, stage = next(task.model.parameters()).device, context.next_stage()
    dropout = randomness.generator(task.sample, "dropout")
    with randomness.isolated(dropout, device):
        compute = Compute(task.model, task.machine)
        try:
            return _Loop(task, compute, hooks, stage).run()
        except Exception as error:
            compile_error = compute.compile_error(error)
            if compile_error is None:
                raise
            raise compile_error from error
        finally:
            compute.restore()


def _parts(batch_size: int, accumulate: int) -> list[range]:
    """Positions in a batch that this process computes, for each part; raises `UserError` if a part is too small."""
    share = process_group.share()
    if batch_size < 2 * accumulate * share.of:
        raise UserError(
            f"--batch_size={batch_size} leaves less than 2 images for each of {share.of} processes in each of "
            f"--accumulate={accumulate} parts"
        )
    return share.positions(batch_size, accumulate)


class _Loop:
    """One training: its network, batches, history and running sums."""

    def __init__(self, task: TrainingTask, compute: Compute, hooks: Hooks, stage: TrainingStage) -> None:
        model, data, recipe = task.model, task.data, task.recipe
        self.task, self.model, self.data, self.recipe = task, model, data, recipe
        self.hooks, self.stage = hooks, stage
        self.network = process_group.parallel(model)
        self.forward, self.forward_in_tests = compute.forward(self.network), compute.forward()
        parts = _parts(recipe.batch_size, recipe.accumulate)
        self.sizes = [len(part) for part in parts]
        self.synchronised = SynchronisedLayers(model, recipe.batch_size, recipe.accumulate)
        is_whole = parts == [range(recipe.batch_size)]
        self.positions = None if is_whole else [position for part in parts for position in part]
        self.steps_per_epoch = len(data.train) // recipe.batch_size
        self.history = History()
        # Sums of loss, correct predictions and images: kept on the device, and read only for checks and rows.
        self.sums = torch.zeros(3, dtype=torch.float64, device=data.train.labels.device)
        self.seconds = self.started = 0.0
        self.zero_pruned_gradients: Callable[[], None] = nothing

    def run(self) -> History:
        if not self.hooks.leave_masks:
            return self._run()
        with baked_masks(self.model) as self.zero_pruned_gradients:
            return self._run()

    def _run(self) -> History:
        iterations = self.recipe.iterations
        optimizer = make_optimizer(self.model, self.recipe)
        done = self._begin(optimizer)
        self.model.train()
        context = self.stage.context
        has_bar = context.has_bar and process_group.is_first()
        with tqdm(
            total=iterations,
            initial=done,
            desc=self.task.label,
            unit="step",
            disable=None if has_bar else True,
            dynamic_ncols=True,
            position=context.bars_above,
            leave=not context.bars_above,
        ) as bar:
            if not self.history.error:
                self._steps(done, iterations, optimizer, bar)
        self.model.eval()
        return self.history

    def _begin(self, optimizer: torch.optim.Optimizer) -> int:
        """Start the training or resume it from a checkpoint; returns the number of steps done."""
        checkpoint = process_group.agree(self.stage.load_checkpoint)
        if checkpoint is not None and checkpoint["processes"] != process_group.share().of:
            checkpoint = None
        done = self.task.start if checkpoint is None else checkpoint["iteration"]
        recipe = self.recipe
        self.batches = self.data.training_batches(
            self.task.sample, recipe.batch_size, recipe.augmentation, self.positions, done
        )
        if checkpoint is not None:
            self._restore(checkpoint, optimizer)
            return done
        self.hooks.after_step(self.task.start, optimizer)
        self._record(self.task.start)
        return done

    def _steps(self, done: int, iterations: int, optimizer: torch.optim.Optimizer, bar: tqdm) -> None:
        every = self.recipe.evaluate_every
        self.started = time.perf_counter()
        for iteration in range(done + 1, iterations + 1):
            self._step(optimizer, learning_rate(self.recipe, iteration - 1))
            self.hooks.after_step(iteration, optimizer)
            is_last = iteration == iterations
            is_test = iteration % every == 0 or is_last
            is_check = iteration % _CHECK_EVERY == 0 or is_test
            if is_check:
                loss, top1 = self._running_scores()
                if not math.isfinite(loss):
                    self.history.error = f"training diverged: the loss is not finite at iteration {iteration}"
                summary = f"loss {loss:.4f}, top-1 {top1:.4f}"
                bar.set_postfix_str(summary, refresh=False)
                bar.update(iteration - bar.n)
                self.stage.report_progress(iteration, iterations, summary)
            if is_test or self.history.error:
                self._stop_clock()
                self._record(iteration)
                self.started = time.perf_counter()
            self._save_checkpoint(iteration, optimizer, is_check, is_last or bool(self.history.error))
            if self.history.error:
                break

    def _stop_clock(self) -> None:
        now = time.perf_counter()
        self.seconds, self.started = self.seconds + now - self.started, now

    def _save_checkpoint(self, iteration: int, optimizer: torch.optim.Optimizer, is_check: bool, is_last: bool) -> None:
        """Save a checkpoint if one is due; the clock of the first process decides for all processes."""
        if self.stage.is_timed and not is_check:
            return
        is_due = self.stage.is_due(iteration, is_last)
        if not (process_group.agree(lambda: is_due) if self.stage.is_timed else is_due):
            return
        self._stop_clock()
        process_states = process_group.gathered(
            {"sums": self.sums.cpu(), "generators": _generator_states(self.sums.device)}
        )
        if process_group.is_first():
            self.stage.save_checkpoint({
                "iteration": iteration,
                "processes": process_group.share().of,
                "model": self.model.state_dict(),
                "optimizer": optimizer.state_dict(),
                "of_each": process_states,
                "rows": self.history.rows,
                "error": self.history.error,
                "seconds": self.seconds,
                "hooks": self.hooks.state(),
            })  # fmt: skip
        self.started = time.perf_counter()

    def _restore(self, checkpoint: Mapping[str, Any], optimizer: torch.optim.Optimizer) -> None:
        is_fixed = self.hooks.leave_masks
        state = {
            name: tensor for name, tensor in checkpoint["model"].items() if not (is_fixed and name.endswith("_mask"))
        }
        self.model.load_state_dict(state, strict=not is_fixed)
        optimizer.load_state_dict(checkpoint["optimizer"])
        self.history = History(checkpoint["rows"], checkpoint["error"])
        process_state = checkpoint["of_each"][process_group.share().number]
        self.sums.copy_(process_state["sums"])
        self.seconds = checkpoint["seconds"]
        self.hooks.restore(checkpoint["hooks"])
        _set_generator_states(process_state["generators"], self.sums.device)

    def _step(self, optimizer: torch.optim.Optimizer, rate: float) -> None:
        for group in optimizer.param_groups:
            group["lr"] = rate
        images, labels = next(self.batches)
        parts = list(zip(images.split(self.sizes), labels.split(self.sizes), strict=True))
        optimizer.zero_grad(set_to_none=True)
        with process_group.without_averaging(self.network):
            for number, part in enumerate(parts[:-1]):
                self._backward(number, *part)
        self._backward(len(parts) - 1, *parts[-1])
        if self.hooks.penalty is not None:
            self.hooks.penalty().backward()
        self.zero_pruned_gradients()
        optimizer.step()

    def _backward(self, part: int, images: Tensor, labels: Tensor) -> None:
        with self.synchronised.passing(part):
            outputs = self.forward(images)
        loss = F.cross_entropy(outputs, labels)
        # Gradients are summed over parts and averaged over processes; the weight lets each image count the same.
        weight = len(labels) * process_group.share().of / self.recipe.batch_size
        (loss if weight == 1 else loss * weight).backward()
        self._add_to_sums(loss.detach(), outputs.detach(), labels)

    @torch.no_grad()
    def _add_to_sums(self, loss: Tensor, outputs: Tensor, labels: Tensor) -> None:
        count = len(labels)
        correct = (outputs.argmax(1) == labels).sum()
        self.sums[0] += loss * count
        self.sums[1] += correct
        self.sums[2] += count

    def _running_scores(self) -> tuple[float, float]:
        """Mean loss and top-1 accuracy of the images since the last evaluation, at least one image."""
        loss, correct, count = process_group.total(self.sums).tolist()
        return loss / count, correct / count

    def _record(self, iteration: int) -> None:
        test_columns = test_row(self.model, self.data, self.recipe, self.forward_in_tests)
        loss, correct, count = process_group.total(self.sums).tolist()
        self.sums.zero_()
        row = {
            "iteration": iteration,
            "epoch": iteration / self.steps_per_epoch,
            "lr": learning_rate(self.recipe, max(iteration - 1, 0)),
            "train_loss": loss / count if count else math.nan,
            "train_top1": correct / count if count else math.nan,
            **test_columns,
            "seconds": self.seconds,
        }
        self.history.rows.append(row)
        self.stage.report_evaluation(row)
        self.hooks.after_test(row)


def _generator_states(device: torch.device) -> list[Tensor]:
    """States of PyTorch's global generators, which dropout uses."""
    states = [torch.get_rng_state()]
    return [*states, torch.cuda.get_rng_state(device)] if device.type == "cuda" else states


def _set_generator_states(states: list[Tensor], device: torch.device) -> None:
    torch.set_rng_state(states[0])
    if device.type == "cuda" and len(states) > 1:
        torch.cuda.set_rng_state(states[1], device)
