"""How long does an epoch take, and does it train as well, beside torchvision's data set, transforms and DataLoader?

    python -m benchmarks.epoch DATA

DATA is the folder that holds MNIST. The same masked LeNet-300-100 (batch 100) is trained for 5 epochs from the same
initial weights by both paths in turn, with and without the rotation of +-4 degrees, three samples each; the rate drops
to a tenth after epochs 3 and 4. Medians over all epochs; testing is not timed.
"""

import itertools
import statistics
import sys
import time
from collections.abc import Iterable, Iterator

import torch
import torch.nn.functional as F
import torchvision
from torch import nn
from torch.utils.data import DataLoader
from torchvision import transforms

from benchmarks.timing import keep
from Models import build
from Utils import randomness
from Utils.config.settings import Training
from Utils.data.dataset import Data, load
from Utils.data.image_spec import ImageSpec
from Utils.training.evaluation import evaluate
from Utils.training.loop import train
from Utils.training.lr_schedules import learning_rate
from Utils.training.optimizers import make_optimizer

EPOCHS, BATCH, SAMPLES = 5, 100, 3
STEPS = 60_000 // BATCH


def recipe(augmentation: str) -> Training:
    """Five epochs."""
    return Training(
        iterations=EPOCHS * STEPS, optimizer="momentum", lr=0.1, lr_drops=(3 * STEPS, 4 * STEPS), lr_drop_rate=0.1,
        momentum=0.9, weight_decay=1e-3, batch_size=BATCH, augmentation=augmentation, evaluate_every=STEPS,
    )  # fmt: skip


def fresh(sample: int) -> nn.Module:
    """The initial network of a sample."""
    return build("lenet300100", generator=randomness.generator(sample, "initial weights"))


def ours(data: Data, training: Training, sample: int) -> tuple[list[float], float]:
    """Seconds of each epoch and the final top-1 of this project's loop."""
    rows = train(fresh(sample), data, training, sample, show_progress=False).rows
    marks = [row["seconds"] for row in rows]
    return [later - earlier for earlier, later in itertools.pairwise(marks)], rows[-1]["top1"]


def loader(path: str, training: Training) -> Iterable:
    """torchvision's data set and transforms behind a DataLoader with two workers."""
    steps = [transforms.ToTensor(), transforms.Normalize((0.1307,), (0.3081,))]
    if training.augmentation == "rotation":
        steps.insert(0, transforms.RandomRotation(4, interpolation=transforms.InterpolationMode.BILINEAR))
    images = torchvision.datasets.MNIST(path, train=True, transform=transforms.Compose(steps))
    return DataLoader(images, BATCH, shuffle=True, num_workers=2, drop_last=True, persistent_workers=True)


def theirs(data: Data, batches: Iterable, training: Training, sample: int) -> tuple[list[float], float]:
    """The same through a plain loop over a DataLoader."""
    torch.manual_seed(sample)
    model = fresh(sample)
    optimizer = make_optimizer(model, training)
    seconds, iteration = [], 0
    for _ in range(EPOCHS):
        started = time.perf_counter()
        for images, labels in batches:
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(training, iteration)
            loss = F.cross_entropy(model(images), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            iteration += 1
        seconds.append(time.perf_counter() - started)
    return seconds, evaluate(model, data, data.test).top1


def compare(path: str, augmentation: str) -> dict:
    """Both paths in turn."""
    data, training = load("mnist", path, ImageSpec((1, 28, 28))), recipe(augmentation)
    batches = loader(path, training)
    paths = {"tensors": lambda s: ours(data, training, s), "dataloader": lambda s: theirs(data, batches, training, s)}
    seconds: dict[str, list[float]] = {name: [] for name in paths}
    top1: dict[str, list[float]] = {name: [] for name in paths}
    for sample in range(SAMPLES):
        for name, run in paths.items():
            epochs, reached = run(sample)
            seconds[name] += epochs
            top1[name].append(reached)
    median = {name: statistics.median(values) for name, values in seconds.items()}
    return {
        "epoch_seconds": median,
        "ratio": median["dataloader"] / median["tensors"],
        "top1": top1,
        "mean_top1_difference": statistics.mean(top1["tensors"]) - statistics.mean(top1["dataloader"]),
    }


def both(path: str) -> Iterator[tuple[str, dict]]:
    """With and without rotation."""
    for augmentation in ("none", "rotation"):
        yield augmentation, compare(path, augmentation)


if __name__ == "__main__":
    keep("epoch", "python -m benchmarks.epoch DATA", dict(both(sys.argv[1])))
