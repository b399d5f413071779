"""How many images a second does training see, beside the same network without masks and beside a DataLoader?

    python -m benchmarks.training FOLDER

FOLDER holds CIFAR-10 as images. Steps of 128 images with crops and flips, momentum, on two cores, in turn: the network
pruned to 90% whose masks stay, or may change; the plain network on the same path; and the plain network fed by
torchvision's ImageFolder, transforms and a DataLoader with two workers. Also the loss of the masked network over its
first steps, in bf16, and how fast LeNet-300-100 trains with one thread and with two.
"""

import itertools
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import torch
import torch.nn.functional as F
from torch import nn

from benchmarks.timing import keep
from Layers import unmask
from Layers.forms.baked import baked_masks
from Models import build
from Pruners import make_pruner
from Pruners.allocation import allocate
from Utils.config.settings import Machine
from Utils.data.dataset import Batch, Data, facts, load
from Utils.data.image_spec import ImageSpec
from Utils.training.precision import Compute

SHAPE, BATCH, ROUNDS = (3, 32, 32), 128, 15
STEPS = {"lottery/resnet20": 5, "lottery/vgg16-bn": 1}
LEARNING = {"lottery/resnet20": 300, "lottery/vgg16-bn": 200}


def theirs(folder: str) -> Iterator[Batch]:
    """Batches as most programs make them."""
    from torchvision import datasets, transforms

    transform = transforms.Compose([
        transforms.RandomCrop(32, padding=4), transforms.RandomHorizontalFlip(), transforms.ToTensor(),
        transforms.Normalize((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
    ])  # fmt: skip
    data = datasets.ImageFolder(f"{folder}/train", transform)
    while True:
        yield from torch.utils.data.DataLoader(data, BATCH, shuffle=True, num_workers=2, drop_last=True)


def pruned(name: str) -> nn.Module:
    """The network, pruned to 90%."""
    model = build(name, generator=torch.Generator().manual_seed(0))
    allocate(model, make_pruner("random/erk").score(model), 0.9, SHAPE, "direct").install(model)
    return model


def stepper(
    model: nn.Module, batches: Iterator[Batch], machine: Machine, is_ours: bool, stack: ExitStack | None = None
) -> Callable[[], float]:
    """One step of training, which gives its loss; the masks stay until the stack is left, if there is one."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, fused=True)
    forward = Compute(model, machine).forward() if is_ours else model
    prepare: Callable[[], object] = stack.enter_context(baked_masks(model)) if stack else int
    model.train()

    def step() -> float:
        images, labels = next(batches)
        loss = F.cross_entropy(forward(images), labels)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        prepare()
        optimizer.step()
        return loss.item()

    return step


def measure(name: str, folder: str, data: Data) -> dict:
    """Images a second of each path, in turn."""

    def ours() -> Iterator[Batch]:
        return data.training_batches(0, BATCH, "crop-flip")

    def fixed(machine: Machine) -> Callable[[], float]:
        return stepper(pruned(name), ours(), machine, is_ours=True, stack=stack)

    with ExitStack() as stack:
        plain = Machine()
        ways = {
            "masked": fixed(plain),
            "unmasked": stepper(unmask(pruned(name)), ours(), plain, is_ours=True),
            "masks that may change": stepper(pruned(name), ours(), plain, is_ours=True),
            "unmasked, as PyTorch has it": stepper(unmask(pruned(name)), ours(), plain, is_ours=False),
            "DataLoader": stepper(unmask(pruned(name)), theirs(folder), plain, is_ours=False),
            "masked, bf16": fixed(Machine(precision="bf16")),
        }
        found: dict = in_turn(ways, STEPS[name])
        found["masked over unmasked"] = ratio(ways["masked"], ways["unmasked"], STEPS[name])
        losses = [ways["masked, bf16"]() for _ in range(LEARNING[name])]
    found["loss_by_twenty_steps"] = [
        round(statistics.mean(losses[start : start + 20]), 4) for start in range(0, len(losses), 20)
    ]
    return found


def ratio(one: Callable[[], float], other: Callable[[], float], steps: int) -> float:
    """How many times as fast as another way one is: the median of rounds in which each goes first in turn."""
    found = []
    for number in range(3 * ROUNDS):
        seconds = {}
        for way in (one, other) if number % 2 else (other, one):
            started = time.perf_counter()
            for _ in range(steps):
                way()
            seconds[way] = time.perf_counter() - started
        found.append(seconds[other] / seconds[one])
    return statistics.median(found)


def in_turn(ways: dict[str, Callable[[], float]], steps: int) -> dict[str, float]:
    """Median images a second of each way."""
    rates: dict[str, list[float]] = {way: [] for way in ways}
    for step in ways.values():
        step(), step()
    for _ in range(ROUNDS):
        for way, step in ways.items():
            started = time.perf_counter()
            for _ in range(steps):
                step()
            rates[way].append(steps * BATCH / (time.perf_counter() - started))
    return {way: statistics.median(values) for way, values in rates.items()}


def threads() -> dict[str, float]:
    """Median images a second of LeNet-300-100 with one thread and with two."""
    images = (torch.randn(BATCH, 1, 28, 28), torch.randint(0, 10, (BATCH,)))
    step = stepper(build("lenet300100"), itertools.repeat(images), Machine(), is_ours=True)

    def with_threads(count: int) -> Callable[[], float]:
        def call() -> float:
            torch.set_num_threads(count)
            return step()

        return call

    return in_turn({"1 thread": with_threads(1), "2 threads": with_threads(2)}, 200)


def main(folder: str) -> None:
    """Measure both networks."""
    torch.set_num_threads(2)
    facts("imagefolder", folder)
    data = load("imagefolder", folder, ImageSpec(SHAPE))
    numbers = {name: measure(name, folder, data) for name in STEPS} | {"lenet300100": threads()}
    keep("training", "python -m benchmarks.training FOLDER", numbers)


if __name__ == "__main__":
    main(sys.argv[1])
