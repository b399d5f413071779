"""Evaluation: loss and accuracy of a network on a split, and the history of a training."""

import math
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import nn

from Utils.config.settings import Machine, Training
from Utils.data.dataset import Batches, Data, Split
from Utils.data.streaming import Files
from Utils.distributed import process_group
from Utils.results.schema import TRAINING_COLUMNS
from Utils.training.precision import Compute, Forward

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

    `forward` calls the network in a way of its own, as `Utils/training/precision.py` makes them.
    """
    was_training = model.training
    model.eval()
    loss = torch.zeros((), dtype=torch.float64, device=split.labels.device)
    right = torch.zeros(2, dtype=torch.int64, device=split.labels.device)
    for images, labels in Batches(data, split, batch_size, share=process_group.share()):
        outputs = (forward or model)(images)
        loss += F.cross_entropy(outputs, labels, reduction="sum").double()
        first = outputs.topk(min(5, outputs.shape[1]), dim=1).indices == labels[:, None]
        right += torch.stack([first[:, 0].sum(), first.sum()])
    model.train(was_training)
    whole, top1, top5 = (process_group.total(torch.cat([loss[None], right.double()])) / len(split)).tolist()
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
    tested = test_row(model, data, training, compute.forward())
    compute.restore()
    return History([unknown | {"iteration": 0, "epoch": 0, "seconds": 0.0} | tested])


def test_row(model: nn.Module, data: Data, training: Training, forward: Forward) -> dict[str, float]:
    """The columns of a row that testing gives."""
    batch_size = evaluation_batch_size(training, data.input_shape)
    test = evaluate(model, data, data.test, batch_size, forward)
    row = {"val_loss": math.nan, "val_top1": math.nan, "test_loss": test.loss, "top1": test.top1, "top5": test.top5}
    if data.validation:
        held_out = evaluate(model, data, data.validation, batch_size, forward)
        row |= {"val_loss": held_out.loss, "val_top1": held_out.top1}
    return row
