"""At which compression does each pruner empty a layer of VGG-16?

    python -m benchmarks.layer_collapse FOLDER

`lottery/vgg16-bn` for 100 classes, at initialisation, three samples, compressions of 10 to the quarter steps, pruned
directly, as Tanaka et al. 2020 did with CIFAR-100. FOLDER holds CIFAR-10 as images; SNIP and GraSP score 1,000 of them
with random labels of 100 classes, in batches of 256, in evaluation mode. For criteria of one round a single pass of
ranks tells the exact number of weights at which each layer empties.
"""

import sys
from decimal import Decimal

import torch
from torch import Tensor, nn

from benchmarks.timing import keep
from Layers import Masks, prunable
from Models import build
from Pruners import make_pruner
from Pruners.allocation import allocate
from Pruners.registry import CRITERIA
from Utils import randomness
from Utils.config.target import Target
from Utils.connectivity.effective import effective_masks, empty_layers, propagate_ranks, ranking
from Utils.data.dataset import facts, load
from Utils.data.image_spec import ImageSpec

SHAPE, CLASSES, EXAMPLES, BATCH = (3, 32, 32), 100, 1000, 256
PRUNERS = ("random", "mag", "snip", "grasp", "synflow")
STEPS = [Decimal(quarter) / 4 for quarter in range(4, 29)]
FIRST = Decimal(4)
"""Where the search begins for criteria that score in rounds, one search for each step."""

THEIRS = {
    "random": [2.75, 3.75, 3.5],
    "mag": [2.75, 2.75, 2.75],
    "snip": [3.75, 3.5, 3.5],
    "grasp": [3.5, 3.75, 3.5],
    "synflow": [6.0, 6.0, 5.75],
}
"""The raw data of Tanaka et al.; their GraSP had the opposite sign then."""


def examples(folder: str, sample: int) -> list[tuple[Tensor, Tensor]]:
    """Images of CIFAR-10 with random labels."""
    facts("imagefolder", folder)
    data = load("imagefolder", folder, ImageSpec(SHAPE), sample)
    generator = torch.Generator().manual_seed(sample)
    return [
        (images, torch.randint(0, CLASSES, labels.shape, generator=generator))
        for images, labels in data.prune_examples(sample, EXAMPLES, BATCH)
    ]


def highest(needed: int, total: int) -> float:
    """The last of the steps that keeps at least so many weights."""
    return float(max((step for step in STEPS if Target(com_exp=step).kept(total) >= needed), default=Decimal(0)))


def at_once(name: str, model: nn.Module, batches: list, sample: int) -> tuple[float, float]:
    """Highest exponents without an empty layer, directly and effectively, from one pass."""
    generator = randomness.generator(sample, "random scores")
    ranks = ranking(model, make_pruner(name, train_mode=False).score(model, batches, generator=generator))
    effective = propagate_ranks(model, ranks, SHAPE).effective
    total = sum(rank.numel() for rank in ranks.values())
    # A layer keeps a weight if the number kept is at least the place of its best one in the order.
    direct, real = (total + 1 - min(int(r.max()) for r in found.values()) for found in (ranks, effective))
    return highest(direct, total), highest(real, total)


def step_by_step(name: str, model: nn.Module, batches: list, sample: int) -> tuple[float, float]:
    """The same for a criterion whose order depends on the target."""
    found = {"direct": 0.0, "effective": 0.0}
    for step in STEPS[STEPS.index(FIRST) :]:
        target = Target(com_exp=step)
        masks = allocate(model, make_pruner(name).score(model, batches, target), target, SHAPE, "direct")
        empty = {"direct": empty_layers(masks), "effective": empty_layers(effective_masks(model, SHAPE, masks))}
        print(f"{name} sample {sample} 10^{step}: kept {masks.kept}, empty {empty}", flush=True)
        for kind, layers in empty.items():
            if not layers and found[kind] in (0.0, float(step) - 0.25):
                found[kind] = float(step)
        if empty["direct"] and empty["effective"]:
            break
    return found["direct"], found["effective"]


def main(folder: str) -> None:
    """Find the exponents of every pruner and sample."""
    torch.set_num_threads(2)
    numbers: dict = {}
    for name in PRUNERS:
        found = []
        for sample in range(3):
            model = build("lottery/vgg16-bn", SHAPE, CLASSES, generator=randomness.generator(sample, "initial weights"))
            entry = CRITERIA[name]
            batches = examples(folder, sample) if entry.needs_batches else [(torch.zeros(1, *SHAPE), torch.zeros(1))]
            search = step_by_step if entry.depends_on_target else at_once
            found.append(search(name, model, batches, sample))
        direct, effective = map(list, zip(*found, strict=True))
        numbers[name] = {"direct": direct, "effective": effective, "theirs": THEIRS[name]}
        print(name, numbers[name], flush=True)
    total, layers = Masks.of(model).total, len(prunable(model))
    numbers["weights"], numbers["layers"] = total, layers
    keep("layer_collapse", "python -m benchmarks.layer_collapse FOLDER", numbers)


if __name__ == "__main__":
    main(sys.argv[1])
