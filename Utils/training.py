"""How is a network trained and tested? The one training loop of the project."""

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from tqdm import tqdm

from Layers import fixed_masks, prunable
from Utils import distributed, randomness, running
from Utils.compute import Compute, Forward
from Utils.data import Batches, Data, Split
from Utils.errors import UserError
from Utils.joint import Joint
from Utils.learning_rate import learning_rate
from Utils.results import TRAINING_COLUMNS
from Utils.settings import Machine, Training
from Utils.streaming import Files


def _nothing(*arguments: object) -> None:
    pass


@dataclass(frozen=True)
class Hooks:
    """What an experiment does while a network trains."""

    after_step: Callable[[int, torch.optim.Optimizer], None] = _nothing
    """Called with the number of steps done, from the start on, before any test; may change weights and masks."""
    after_test: Callable[[dict[str, float]], None] = _nothing
    """Called with every row of the history."""
    state: Callable[[], dict[str, Any]] = dict
    """What these functions remember, in tensors and plain values, to go on from."""
    restore: Callable[[Any], None] = _nothing
    """Makes what `state` gave what they remember."""
    penalty: Callable[[], Tensor] | None = None
    """Added to the loss of each step, but not recorded."""
    only_looks: bool = False
    """Whether `after_step` changes nothing, so that masks are worked into the weights once."""

    @property
    def leave_masks(self) -> bool:
        """Whether masks stay what they are."""
        return self.only_looks or self.after_step is _nothing


_CHECK_EVERY = 50
"""Steps between looks at the running loss: each makes the host wait for the device."""

_TEST_BATCH = 2000
"""Images per batch where no statistics depend on it, if they are as small as CIFAR-10's: few calls, little memory."""

_TEST_PIXELS = _TEST_BATCH * 32 * 32


@dataclass(frozen=True)
class Scores:
    """How a network does on a split: mean cross-entropy and the shares of right answers among the first 1 and 5."""

    loss: float
    top1: float
    top5: float


@dataclass
class History:
    """What training recorded: one row per evaluation, with the columns of `TRAINING_COLUMNS`."""

    rows: list[dict[str, float]] = field(default_factory=list)
    error: str = ""
    """Why training stopped early, if it did."""

    @property
    def last(self) -> dict[str, float]:
        """The row of the last evaluation."""
        return self.rows[-1]

    def best(self, column: str) -> float:
        """The highest value of a column."""
        return max(row[column] for row in self.rows)


@torch.no_grad()
def evaluate(
    model: nn.Module, data: Data, split: Split | Files, batch_size: int = _TEST_BATCH, forward: Forward | None = None
) -> Scores:
    """Test a network. Where it normalises with the batch's own statistics, `batch_size` matters.

    `forward` calls the network in a way of its own, as `Utils/compute.py` makes them.
    """
    was_training = model.training
    model.eval()
    loss = torch.zeros((), dtype=torch.float64, device=split.labels.device)
    right = torch.zeros(2, dtype=torch.int64, device=split.labels.device)
    for images, labels in Batches(data, split, batch_size, share=distributed.share()):
        outputs = (forward or model)(images)
        loss += F.cross_entropy(outputs, labels, reduction="sum").double()
        first = outputs.topk(min(5, outputs.shape[1]), dim=1).indices == labels[:, None]
        right += torch.stack([first[:, 0].sum(), first.sum()])
    model.train(was_training)
    whole, top1, top5 = (distributed.total(torch.cat([loss[None], right.double()])) / len(split)).tolist()
    return Scores(whole, top1, top5)


def evaluation_batch_size(training: Training, input_shape: tuple[int, int, int]) -> int:
    """Images per batch of a test: as in training where the batch's own statistics normalise, else many."""
    trained = training.batch_size or 1
    if training.batchnorm == "batch":
        return trained
    height, width = input_shape[1:]
    return min(_TEST_BATCH, max(trained, _TEST_PIXELS // (height * width)))


def untrained(model: nn.Module, data: Data, training: Training, machine: Machine | None = None) -> History:
    """The one row of a network that is tested and not trained."""
    unknown = dict.fromkeys(TRAINING_COLUMNS, math.nan)
    compute = Compute(model, machine or Machine())
    tested = _test(model, data, training, compute.forward())
    compute.restore()
    return History([unknown | {"iteration": 0, "epoch": 0, "seconds": 0.0} | tested])


def _test(model: nn.Module, data: Data, training: Training, forward: Forward) -> dict[str, float]:
    """The columns of a row that testing gives."""
    batch_size = evaluation_batch_size(training, data.input_shape)
    test = evaluate(model, data, data.test, batch_size, forward)
    row = {"val_loss": math.nan, "val_top1": math.nan, "test_loss": test.loss, "top1": test.top1, "top5": test.top5}
    if data.validation:
        held_out = evaluate(model, data, data.validation, batch_size, forward)
        row |= {"val_loss": held_out.loss, "val_top1": held_out.top1}
    return row


def make_optimizer(model: nn.Module, training: Training) -> torch.optim.Optimizer:
    """The optimizer of a resolved recipe; weight decay acts on kernels only, not on biases and normalisation."""
    assert training.lr is not None and training.weight_decay is not None
    kernels = {name for name, (weight, _) in prunable(model).items() if weight.dim() > 1}
    kernels |= {name for name, parameter in model.named_parameters() if parameter.dim() > 1}
    named = [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]
    groups = [
        {"params": [parameter for name, parameter in named if name in kernels], "weight_decay": training.weight_decay},
        {"params": [parameter for name, parameter in named if name not in kernels], "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    if training.optimizer == "adam":
        return torch.optim.Adam(groups, lr=training.lr, fused=True)
    if training.optimizer == "rmsprop":
        return torch.optim.RMSprop(groups, lr=training.lr, foreach=True)
    momentum = 0.0 if training.optimizer == "sgd" else training.momentum or 0.0
    return torch.optim.SGD(
        groups, lr=training.lr, momentum=momentum, nesterov=training.optimizer == "nesterov", fused=True
    )


def train(
    model: nn.Module,
    data: Data,
    training: Training,
    sample: int,
    label: str = "",
    show_progress: bool = True,
    machine: Machine | None = None,
    hooks: Hooks = Hooks(),
    start: int = 0,
) -> History:
    """Train a network in place by a resolved recipe, testing it before, every `evaluate_every` steps and at the end.

    The sample decides data order and augmentation. A run whose loss is no longer finite stops, and says so in
    `History.error`. The network is left in evaluation mode. Training that starts at a later step has the learning rates
    and the batches of the steps from there on. One that was interrupted (`Utils/running.py`) goes on from its last
    checkpoint, and ends as if it had not been.
    """
    device, share, stage = next(model.parameters()).device, distributed.share(), running.surroundings().begin()
    dropout = randomness.generator(sample, "dropout")
    with randomness.isolated(dropout, device):
        compute = Compute(model, machine or Machine())
        try:
            loop = _Loop(model, data, training, sample, compute, hooks, start, stage)
            return loop.run(label, show_progress and share.number == 0)
        except Exception as error:
            explained = compute.explained(error)
            if explained is None:
                raise
            raise explained from error
        finally:
            compute.restore()


def _parts(batch_size: int, accumulate: int) -> list[range]:
    """The places in a batch that this process computes at a time; raises `UserError` if a part would be too small."""
    share = distributed.share()
    if batch_size < 2 * accumulate * share.of:
        raise UserError(
            f"--batch_size={batch_size} leaves less than 2 images for each of {share.of} processes in each of "
            f"--accumulate={accumulate} parts"
        )
    return share.positions(batch_size, accumulate)


class _Loop:
    def __init__(
        self,
        model: nn.Module,
        data: Data,
        training: Training,
        sample: int,
        compute: Compute,
        hooks: Hooks,
        start: int,
        stage: running.Stage,
    ) -> None:
        assert training.batch_size is not None
        self.model, self.data, self.training, self.sample = model, data, training, sample
        self.hooks, self.start, self.stage = hooks, start, stage
        self.network = distributed.parallel(model)
        self.forward, self.forward_in_tests = compute.forward(self.network), compute.forward()
        parts = _parts(training.batch_size, training.accumulate)
        self.sizes = [len(part) for part in parts]
        self.joint = Joint(model, training.batch_size, training.accumulate)
        is_whole = parts == [range(training.batch_size)]
        self.positions = None if is_whole else [place for part in parts for place in part]
        self.steps_per_epoch = len(data.train) // training.batch_size
        self.history = History()
        # Summed on the device and read only when a row is made: loss, right answers, images.
        self.sums = torch.zeros(3, dtype=torch.float64, device=data.train.labels.device)
        self.seconds = self.started = 0.0
        self.zero_pruned_gradients: Callable[[], None] = _nothing

    def run(self, label: str, show_progress: bool) -> History:
        if not self.hooks.leave_masks:
            return self._run(label, show_progress)
        with fixed_masks(self.model) as self.zero_pruned_gradients:
            return self._run(label, show_progress)

    def _run(self, label: str, show_progress: bool) -> History:
        iterations = self.training.iterations or 0
        optimizer = make_optimizer(self.model, self.training)
        done = self._begin(optimizer)
        self.model.train()
        surroundings = running.surroundings()
        has_bar = show_progress and surroundings.has_bar
        with tqdm(
            total=iterations,
            initial=done,
            desc=label,
            unit="step",
            disable=None if has_bar else True,
            dynamic_ncols=True,
            position=surroundings.bars_above,
            leave=not surroundings.bars_above,
        ) as bar:
            if not self.history.error:
                self._steps(done, iterations, optimizer, bar)
        self.model.eval()
        return self.history

    def _begin(self, optimizer: torch.optim.Optimizer) -> int:
        """Start, or go on from a checkpoint; returns the steps done."""
        saved = distributed.agree(self.stage.saved)
        if saved is not None and saved["processes"] != distributed.share().of:
            saved = None
        done = self.start if saved is None else saved["iteration"]
        training = self.training
        assert training.batch_size is not None and training.augmentation is not None
        self.batches = self.data.training_batches(
            self.sample, training.batch_size, training.augmentation, self.positions, done
        )
        if saved is not None:
            self._restore(saved, optimizer)
            return done
        self.hooks.after_step(self.start, optimizer)
        self._record(self.start)
        return done

    def _steps(self, done: int, iterations: int, optimizer: torch.optim.Optimizer, bar: tqdm) -> None:
        every = self.training.evaluate_every or 1
        self.started = time.perf_counter()
        for iteration in range(done + 1, iterations + 1):
            self._step(optimizer, learning_rate(self.training, iteration - 1))
            self.hooks.after_step(iteration, optimizer)
            is_last = iteration == iterations
            is_test = iteration % every == 0 or is_last
            is_look = iteration % _CHECK_EVERY == 0 or is_test
            if is_look:
                loss, top1 = self._so_far()
                if not math.isfinite(loss):
                    self.history.error = f"training diverged: the loss is not finite at iteration {iteration}"
                words = f"loss {loss:.4f}, top-1 {top1:.4f}"
                bar.set_postfix_str(words, refresh=False)
                bar.update(iteration - bar.n)
                self.stage.tell(iteration, iterations, words)
            if is_test or self.history.error:
                self._stop_clock()
                self._record(iteration)
                self.started = time.perf_counter()
            self._keep(iteration, optimizer, is_look, is_last or bool(self.history.error))
            if self.history.error:
                break

    def _stop_clock(self) -> None:
        now = time.perf_counter()
        self.seconds, self.started = self.seconds + now - self.started, now

    def _keep(self, iteration: int, optimizer: torch.optim.Optimizer, is_look: bool, is_last: bool) -> None:
        """Keep a checkpoint, if it is time, by the clock of the first process."""
        if self.stage.is_timed and not is_look:
            return
        is_due = self.stage.is_due(iteration, is_last)
        if not (distributed.agree(lambda: is_due) if self.stage.is_timed else is_due):
            return
        self._stop_clock()
        of_each = distributed.gathered({"sums": self.sums.cpu(), "generators": _generators(self.sums.device)})
        if distributed.is_first():
            self.stage.keep({
                "iteration": iteration,
                "processes": distributed.share().of,
                "model": self.model.state_dict(),
                "optimizer": optimizer.state_dict(),
                "of_each": of_each,
                "rows": self.history.rows,
                "error": self.history.error,
                "seconds": self.seconds,
                "hooks": self.hooks.state(),
            })  # fmt: skip
        self.started = time.perf_counter()

    def _restore(self, saved: Mapping[str, Any], optimizer: torch.optim.Optimizer) -> None:
        masks_stay = self.hooks.leave_masks
        state = {name: value for name, value in saved["model"].items() if not (masks_stay and name.endswith("_mask"))}
        self.model.load_state_dict(state, strict=not masks_stay)
        optimizer.load_state_dict(saved["optimizer"])
        self.history = History(saved["rows"], saved["error"])
        own = saved["of_each"][distributed.share().number]
        self.sums.copy_(own["sums"])
        self.seconds = saved["seconds"]
        self.hooks.restore(saved["hooks"])
        _set_generators(own["generators"], self.sums.device)

    def _step(self, optimizer: torch.optim.Optimizer, rate: float) -> None:
        for group in optimizer.param_groups:
            group["lr"] = rate
        images, labels = next(self.batches)
        parts = list(zip(images.split(self.sizes), labels.split(self.sizes), strict=True))
        optimizer.zero_grad(set_to_none=True)
        with distributed.without_averaging(self.network):
            for number, part in enumerate(parts[:-1]):
                self._backward(number, *part)
        self._backward(len(parts) - 1, *parts[-1])
        if self.hooks.penalty is not None:
            self.hooks.penalty().backward()
        self.zero_pruned_gradients()
        optimizer.step()

    def _backward(self, part: int, images: Tensor, labels: Tensor) -> None:
        with self.joint.passing(part):
            outputs = self.forward(images)
        loss = F.cross_entropy(outputs, labels)
        # Gradients are summed over parts and averaged over processes: each image counts the same in the end.
        weight = len(labels) * distributed.share().of / (self.training.batch_size or 1)
        (loss if weight == 1 else loss * weight).backward()
        self._add(loss.detach(), outputs.detach(), labels)

    @torch.no_grad()
    def _add(self, loss: Tensor, outputs: Tensor, labels: Tensor) -> None:
        count = len(labels)
        right = (outputs.argmax(1) == labels).sum()
        self.sums[0] += loss * count
        self.sums[1] += right
        self.sums[2] += count

    def _so_far(self) -> tuple[float, float]:
        """Mean loss and top-1 of the images since the last evaluation; there are some."""
        loss, right, count = distributed.total(self.sums).tolist()
        return loss / count, right / count

    def _record(self, iteration: int) -> None:
        tested = _test(self.model, self.data, self.training, self.forward_in_tests)
        loss, right, count = distributed.total(self.sums).tolist()
        self.sums.zero_()
        row = {
            "iteration": iteration,
            "epoch": iteration / self.steps_per_epoch,
            "lr": learning_rate(self.training, max(iteration - 1, 0)),
            "train_loss": loss / count if count else math.nan,
            "train_top1": right / count if count else math.nan,
            **tested,
            "seconds": self.seconds,
        }
        self.history.rows.append(row)
        self.stage.tell_row(row)
        self.hooks.after_test(row)


def _generators(device: torch.device) -> list[Tensor]:
    """The states of PyTorch's global generators, which dropout draws from."""
    states = [torch.get_rng_state()]
    return [*states, torch.cuda.get_rng_state(device)] if device.type == "cuda" else states


def _set_generators(states: list[Tensor], device: torch.device) -> None:
    torch.set_rng_state(states[0])
    if device.type == "cuda" and len(states) > 1:
        torch.cuda.set_rng_state(states[1], device)
