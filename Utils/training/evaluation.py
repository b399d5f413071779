"""Evaluation: loss and accuracy of a network on a split, and the history of a training."""

import math
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from Utils.config.groups import Machine
from Utils.config.resolved import Recipe
from Utils.data.dataset import Batches, Data, Split
from Utils.data.streaming import Files
from Utils.distributed import process_group
from Utils.results.predictions import Predictions
from Utils.results.schema import TRAINING_COLUMNS
from Utils.training.precision import Compute, Forward

_TEST_BATCH = 2000
"""Images of CIFAR-10's size per batch, if no statistics depend on the batch: few calls, little memory."""

_TEST_PIXELS = _TEST_BATCH * 32 * 32
"""Pixels per batch, for images of other sizes."""


@dataclass(frozen=True)
class Scores:
    """Scores of a network on a split: mean cross-entropy, and fractions of correct top-1 and top-5 predictions."""

    loss: float
    top1: float
    top5: float


@dataclass
class History:
    """Record of a training: one row per evaluation, with the columns of `TRAINING_COLUMNS`."""

    rows: list[dict[str, float]] = field(default_factory=list)
    error: str = ""
    """The reason why training stopped early; empty if it did not."""

    @property
    def last(self) -> dict[str, float]:
        """The row of the last evaluation."""
        return self.rows[-1]

    def best(self, column: str) -> float:
        """The highest value of a column."""
        return max(row[column] for row in self.rows)


class RunningScores:
    """Mean loss and accuracy of training images, summed on the device and read only when they are asked for."""

    def __init__(self, device: torch.device) -> None:
        self.sums = torch.zeros(3, dtype=torch.float64, device=device)
        """Loss, correct predictions and images."""

    @torch.no_grad()
    def add(self, loss: Tensor, outputs: Tensor, labels: Tensor) -> None:
        """Add images with a mean loss."""
        self.sums[0] += loss.detach() * len(labels)
        self.sums[1] += (outputs.argmax(1) == labels).sum()
        self.sums[2] += len(labels)

    def means(self) -> tuple[float, float]:
        """Mean loss and top-1 accuracy of the images of all processes; NaN without any."""
        loss, correct, count = process_group.total(self.sums).tolist()
        return (loss / count, correct / count) if count else (math.nan, math.nan)

    def reset(self) -> None:
        """Forget all images."""
        self.sums.zero_()


@torch.no_grad()
def evaluate(
    model: nn.Module, data: Data, split: Split | Files, batch_size: int = _TEST_BATCH, forward: Forward | None = None
) -> Scores:
    """Loss and accuracy of a network on a split; they depend on `batch_size` if it normalises with batch statistics.

    `forward` replaces the call of the network; `Utils/training/precision.py` creates such functions.
    """
    was_training = model.training
    model.eval()
    loss = torch.zeros((), dtype=torch.float64, device=split.labels.device)
    correct = torch.zeros(2, dtype=torch.int64, device=split.labels.device)
    for images, labels in Batches(data, split, batch_size, share=process_group.share()):
        outputs = (forward or model)(images)
        loss += F.cross_entropy(outputs, labels, reduction="sum").double()
        is_correct = _highest(outputs) == labels[:, None]
        correct += torch.stack([is_correct[:, 0].sum(), is_correct.sum()])
    model.train(was_training)
    mean_loss, top1, top5 = (process_group.total(torch.cat([loss[None], correct.double()])) / len(split)).tolist()
    return Scores(mean_loss, top1, top5)


@torch.no_grad()
def predict(model: nn.Module, data: Data, recipe: Recipe, machine: Machine | None = None) -> Predictions:
    """What a network says about each test image; its accuracy is that of the test columns of a history row."""
    model.eval()
    batches = Batches(data, data.test, evaluation_batch_size(recipe, data.input_shape))
    with Compute(model, machine or Machine()) as compute:
        forward = compute.forward()
        outputs, labels = (torch.cat(parts) for parts in zip(*((forward(x), y) for x, y in batches), strict=True))
    arrays = (labels, _highest(outputs)[:, 0], outputs.double().log_softmax(dim=1))
    return Predictions.of(*(array.cpu().numpy() for array in arrays))


def _highest(outputs: Tensor) -> Tensor:
    """The five classes (images, 5) with the highest outputs (images, classes), the highest first; all if fewer."""
    return outputs.topk(min(5, outputs.shape[1]), dim=1).indices


def evaluation_batch_size(recipe: Recipe, input_shape: tuple[int, int, int]) -> int:
    """Images per test batch: the training batch size if batch statistics normalise, otherwise a large number."""
    if recipe.batchnorm == "batch":
        return recipe.batch_size
    height, width = input_shape[1:]
    return min(_TEST_BATCH, max(recipe.batch_size, _TEST_PIXELS // (height * width)))


def untrained(model: nn.Module, data: Data, recipe: Recipe, machine: Machine | None = None) -> History:
    """History of a network that is tested but not trained: one row, for iteration 0."""
    empty_row = dict.fromkeys(TRAINING_COLUMNS, math.nan)
    with Compute(model, machine or Machine()) as compute:
        test_columns = test_row(model, data, recipe, compute.forward())
    return History([empty_row | {"iteration": 0, "epoch": 0, "seconds": 0.0} | test_columns])


def test_row(model: nn.Module, data: Data, recipe: Recipe, forward: Forward) -> dict[str, float]:
    """Test columns of a history row; without a validation set, its columns are NaN."""
    batch_size = evaluation_batch_size(recipe, data.input_shape)
    test = evaluate(model, data, data.test, batch_size, forward)
    row = {"val_loss": math.nan, "val_top1": math.nan, "test_loss": test.loss, "top1": test.top1, "top5": test.top5}
    if data.validation:
        held_out = evaluate(model, data, data.validation, batch_size, forward)
        row |= {"val_loss": held_out.loss, "val_top1": held_out.top1}
    return row
