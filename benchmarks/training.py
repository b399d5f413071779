"""Training throughput: images per second of masked training, against the unmasked network and a DataLoader.

    python -m benchmarks.training FOLDER

FOLDER contains CIFAR-10 as images. Training steps of 128 images with crops, flips and momentum are timed in turn on two
cores: for the network pruned to 90%, with fixed and with changing masks; for the unmasked network on the same path; and
for the unmasked network fed by torchvision's ImageFolder, transforms and a DataLoader with two workers. Also measured
are the loss of the masked network over its first steps in bf16, and the throughput of LeNet-300-100 with one and two
threads.
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
from Layers.forms.baked import Baked
from Layers.forms.dynamic import Dynamic
from Models import build
from Pruners import make_pruner
from Pruners.allocation import allocate
from Utils.config.groups import Machine
from Utils.data.dataset import Batch, Data, facts, load
from Utils.data.image_spec import ImageSpec
from Utils.training.precision import Compute

SHAPE, BATCH, ROUNDS = (3, 32, 32), 128, 15
STEPS = {"lottery/resnet20": 5, "lottery/vgg16-bn": 1}
LEARNING = {"lottery/resnet20": 300, "lottery/vgg16-bn": 200}


def loader_batches(folder: str) -> Iterator[Batch]:
    """Yield batches from torchvision's ImageFolder and a DataLoader without end."""
    from torchvision import datasets, transforms

    transform = transforms.Compose([
        transforms.RandomCrop(32, padding=4), transforms.RandomHorizontalFlip(), transforms.ToTensor(),
        transforms.Normalize((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
    ])  # fmt: skip
    data = datasets.ImageFolder(f"{folder}/train", transform)
    while True:
        yield from torch.utils.data.DataLoader(data, BATCH, shuffle=True, num_workers=2, drop_last=True)


def pruned(name: str) -> nn.Module:
    """A network pruned to 90% sparsity."""
    model = build(name, generator=torch.Generator().manual_seed(0))
    allocate(model, make_pruner("random/erk").score(model), 0.9, SHAPE, "direct").install(model)
    return model


def stepper(
    model: nn.Module, batches: Iterator[Batch], machine: Machine, uses_compute: bool, stack: ExitStack | None = None
) -> Callable[[], float]:
    """A function that executes one training step and returns its loss.

    `uses_compute` runs the forward pass through `Compute`. Masks are fixed until `stack` is closed, if one is given.
    """
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, fused=True)
    forward = Compute(model, machine).forward() if uses_compute else model
    form = Baked() if stack else Dynamic()
    (stack or ExitStack()).enter_context(form.holding(model))
    model.train()

    def step() -> float:
        images, labels = next(batches)
        loss = F.cross_entropy(forward(images), labels)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        form.after_backward()
        optimizer.step()
        return loss.item()

    return step


def measure(name: str, folder: str, data: Data) -> dict:
    """Images per second of each path, measured in turn, and the losses in bf16."""

    def batches() -> Iterator[Batch]:
        return data.training_batches(0, BATCH, "crop-flip")

    def fixed(machine: Machine) -> Callable[[], float]:
        return stepper(pruned(name), batches(), machine, uses_compute=True, stack=stack)

    with ExitStack() as stack:
        plain = Machine()
        steps = {
            "masked": fixed(plain),
            "unmasked": stepper(unmask(pruned(name)), batches(), plain, uses_compute=True),
            "masks that may change": stepper(pruned(name), batches(), plain, uses_compute=True),
            "unmasked, as PyTorch has it": stepper(unmask(pruned(name)), batches(), plain, uses_compute=False),
            "DataLoader": stepper(unmask(pruned(name)), loader_batches(folder), plain, uses_compute=False),
            "masked, bf16": fixed(Machine(precision="bf16")),
        }
        numbers: dict = in_turn(steps, STEPS[name])
        numbers["masked over unmasked"] = ratio(steps["masked"], steps["unmasked"], STEPS[name])
        losses = [steps["masked, bf16"]() for _ in range(LEARNING[name])]
    numbers["loss_by_twenty_steps"] = [
        round(statistics.mean(losses[start : start + 20]), 4) for start in range(0, len(losses), 20)
    ]
    return numbers


def ratio(one: Callable[[], float], other: Callable[[], float], count: int) -> float:
    """The speed of one kind of step over that of another: the median over rounds of `count` steps.

    The two kinds alternate in going first.
    """
    ratios = []
    for number in range(3 * ROUNDS):
        seconds = {}
        for step in (one, other) if number % 2 else (other, one):
            started = time.perf_counter()
            for _ in range(count):
                step()
            seconds[step] = time.perf_counter() - started
        ratios.append(seconds[other] / seconds[one])
    return statistics.median(ratios)


def in_turn(steps: dict[str, Callable[[], float]], count: int) -> dict[str, float]:
    """Median images per second of each kind of step, over rounds of `count` steps after two warm-up steps."""
    rates: dict[str, list[float]] = {name: [] for name in steps}
    for step in steps.values():
        step(), step()
    for _ in range(ROUNDS):
        for name, step in steps.items():
            started = time.perf_counter()
            for _ in range(count):
                step()
            rates[name].append(count * BATCH / (time.perf_counter() - started))
    return {name: statistics.median(per_round) for name, per_round in rates.items()}


def threads() -> dict[str, float]:
    """Median images per second of LeNet-300-100 with one and with two threads."""
    batch = (torch.randn(BATCH, 1, 28, 28), torch.randint(0, 10, (BATCH,)))
    step = stepper(build("lenet300100"), itertools.repeat(batch), Machine(), uses_compute=True)

    def with_threads(count: int) -> Callable[[], float]:
        def call() -> float:
            torch.set_num_threads(count)
            return step()

        return call

    return in_turn({"1 thread": with_threads(1), "2 threads": with_threads(2)}, 200)


def main(folder: str) -> None:
    """Measure both networks, and LeNet-300-100 by threads."""
    torch.set_num_threads(2)
    facts("imagefolder", folder)
    data = load("imagefolder", folder, ImageSpec(SHAPE))
    numbers = {name: measure(name, folder, data) for name in STEPS} | {"lenet300100": threads()}
    keep("training", "python -m benchmarks.training FOLDER", numbers)


if __name__ == "__main__":
    main(sys.argv[1])
