"""Epoch time: seconds and final accuracy of the training loop, against a torchvision data set with a DataLoader.

    python -m benchmarks.epoch FOLDER

FOLDER contains MNIST. Both loops train the same masked LeNet-300-100 (batch 100) for 5 epochs from the same initial
weights, in turn, with and without a rotation of +-4 degrees, with three samples each. The learning rate
drops to a tenth after epochs 3 and 4. Medians are over all epochs; testing is not timed.
"""

import itertools
import statistics
import sys
import time
from collections.abc import Iterable

import torch
import torch.nn.functional as F
import torchvision
from torch import nn
from torch.utils.data import DataLoader
from torchvision import transforms

from benchmarks.timing import keep
from Layers.forms.dynamic import Dynamic
from Models import build
from Utils import randomness
from Utils.config.resolved import Recipe
from Utils.data.dataset import Data, load
from Utils.data.image_spec import ImageSpec
from Utils.training.context import RunContext
from Utils.training.evaluation import evaluate
from Utils.training.loop import train
from Utils.training.lr_schedules import learning_rate
from Utils.training.optimizers import make_optimizer
from Utils.training.task import TrainingTask

EPOCHS, BATCH, SAMPLES = 5, 100, 3
STEPS = 60_000 // BATCH


def recipe_of(augmentation: str) -> Recipe:
    """The training settings, for five epochs."""
    return Recipe(
        iterations=EPOCHS * STEPS, optimizer="momentum", lr=0.1, lr_drops=(3 * STEPS, 4 * STEPS), lr_drop_rate=0.1,
        momentum=0.9, weight_decay=1e-3, batch_size=BATCH, augmentation=augmentation, evaluate_every=STEPS,
    )  # fmt: skip


def initial_network(sample: int) -> nn.Module:
    """The network of a sample with its initial weights."""
    return build("lenet300100", generator=randomness.generator(sample, "initial weights"))


def train_on_tensors(data: Data, recipe: Recipe, sample: int) -> tuple[list[float], float]:
    """Train with this project's loop; returns the seconds of each epoch and the final top-1."""
    (history,) = train(TrainingTask(initial_network(sample), data, recipe, sample), RunContext(has_bar=False))
    rows = history.rows
    times = [row["seconds"] for row in rows]
    return [later - earlier for earlier, later in itertools.pairwise(times)], rows[-1]["top1"]


def loader(path: str, recipe: Recipe) -> Iterable:
    """torchvision's data set and transforms behind a DataLoader with two workers."""
    steps = [transforms.ToTensor(), transforms.Normalize((0.1307,), (0.3081,))]
    if recipe.augmentation == "rotation":
        steps.insert(0, transforms.RandomRotation(4, interpolation=transforms.InterpolationMode.BILINEAR))
    images = torchvision.datasets.MNIST(path, train=True, transform=transforms.Compose(steps))
    return DataLoader(images, BATCH, shuffle=True, num_workers=2, drop_last=True, persistent_workers=True)


def train_on_loader(data: Data, batches: Iterable, recipe: Recipe, sample: int) -> tuple[list[float], float]:
    """Train with a plain loop over a DataLoader; returns the seconds of each epoch and the final top-1."""
    torch.manual_seed(sample)
    model = initial_network(sample)
    form = Dynamic()
    form.enter(model)
    optimizer = make_optimizer(form.parameters(), recipe)
    seconds, iteration = [], 0
    for _ in range(EPOCHS):
        started = time.perf_counter()
        for images, labels in batches:
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(recipe, iteration)
            loss = F.cross_entropy(model(images), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            iteration += 1
        seconds.append(time.perf_counter() - started)
    return seconds, evaluate(model, data, data.test).top1


def compare(path: str, augmentation: str) -> dict:
    """Epoch seconds and top-1 of both loops, executed in turn for each sample."""
    data, recipe = load("mnist", path, ImageSpec((1, 28, 28))), recipe_of(augmentation)
    batches = loader(path, recipe)
    loops = {
        "tensors": lambda sample: train_on_tensors(data, recipe, sample),
        "dataloader": lambda sample: train_on_loader(data, batches, recipe, sample),
    }
    seconds: dict[str, list[float]] = {name: [] for name in loops}
    top1: dict[str, list[float]] = {name: [] for name in loops}
    for sample in range(SAMPLES):
        for name, loop in loops.items():
            epoch_seconds, final_top1 = loop(sample)
            seconds[name] += epoch_seconds
            top1[name].append(final_top1)
    median = {name: statistics.median(values) for name, values in seconds.items()}
    return {
        "epoch_seconds": median,
        "ratio": median["dataloader"] / median["tensors"],
        "top1": top1,
        "mean_top1_difference": statistics.mean(top1["tensors"]) - statistics.mean(top1["dataloader"]),
    }


def main(path: str) -> None:
    """Compare both loops without and with rotation."""
    numbers = {augmentation: compare(path, augmentation) for augmentation in ("none", "rotation")}
    keep("epoch", "python -m benchmarks.epoch FOLDER", numbers)


if __name__ == "__main__":
    main(sys.argv[1])
