"""Layer collapse: highest compression at which each pruner leaves no layer of VGG-16 empty.

    python -m benchmarks.layer_collapse FOLDER

`lottery/vgg16-bn` for 100 classes is pruned at initialisation, to direct targets, with three samples, at compressions
10^(n/4), as Tanaka et al. 2020 did with CIFAR-100. FOLDER contains CIFAR-10 as images; SNIP and GraSP score 1,000 of
them with random labels of 100 classes, in batches of 256, in evaluation mode. For criteria of one round, a single pass
of ranks gives the exact number of weights at which each layer empties.
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
EXPONENTS = [Decimal(quarter) / 4 for quarter in range(4, 29)]
FIRST = Decimal(4)
"""First exponent to try for criteria that score in rounds, which need to score again for every exponent."""

PUBLISHED = {
    "random": [2.75, 3.75, 3.5],
    "mag": [2.75, 2.75, 2.75],
    "snip": [3.75, 3.5, 3.5],
    "grasp": [3.5, 3.75, 3.5],
    "synflow": [6.0, 6.0, 5.75],
}
"""Exponents in the raw data of Tanaka et al., whose GraSP scores had the opposite sign at that time."""


def examples(folder: str, sample: int) -> list[tuple[Tensor, Tensor]]:
    """Batches of CIFAR-10 images with random labels."""
    facts("imagefolder", folder)
    data = load("imagefolder", folder, ImageSpec(SHAPE), sample)
    generator = torch.Generator().manual_seed(sample)
    return [
        (images, torch.randint(0, CLASSES, labels.shape, generator=generator))
        for images, labels in data.prune_examples(sample, EXAMPLES, BATCH)
    ]


def highest(needed: int, total: int) -> float:
    """The highest exponent that keeps at least `needed` of `total` weights; 0 if there is none."""
    exponents = (exponent for exponent in EXPONENTS if Target(com_exp=exponent).kept(total) >= needed)
    return float(max(exponents, default=Decimal(0)))


def search_by_ranks(name: str, model: nn.Module, batches: list, sample: int) -> tuple[float, float]:
    """Highest exponents at which no layer is empty, by direct and by effective weights, from one pass of ranks."""
    generator = randomness.generator(sample, "random scores")
    ranks = ranking(model, make_pruner(name, train_mode=False).score(model, batches, generator=generator))
    effective = propagate_ranks(model, ranks, SHAPE).effective
    total = sum(rank.numel() for rank in ranks.values())
    # A layer keeps a weight if the number of kept weights is at least the position of the layer's best weight.
    needed_direct, needed_effective = (
        total + 1 - min(int(rank.max()) for rank in layers.values()) for layers in (ranks, effective)
    )
    return highest(needed_direct, total), highest(needed_effective, total)


def search_by_exponents(name: str, model: nn.Module, batches: list, sample: int) -> tuple[float, float]:
    """The same exponents for a criterion whose order depends on the target: score and prune at each exponent."""
    exponents = {"direct": 0.0, "effective": 0.0}
    for exponent in EXPONENTS[EXPONENTS.index(FIRST) :]:
        target = Target(com_exp=exponent)
        masks = allocate(model, make_pruner(name).score(model, batches, target), target, SHAPE, "direct")
        empty = {"direct": empty_layers(masks), "effective": empty_layers(effective_masks(model, SHAPE, masks))}
        print(f"{name} sample {sample} 10^{exponent}: kept {masks.kept}, empty {empty}", flush=True)
        for kind, layers in empty.items():
            if not layers and exponents[kind] in (0.0, float(exponent) - 0.25):
                exponents[kind] = float(exponent)
        if empty["direct"] and empty["effective"]:
            break
    return exponents["direct"], exponents["effective"]


def main(folder: str) -> None:
    """Measure the exponents of every pruner and sample."""
    torch.set_num_threads(2)
    numbers: dict = {}
    for name in PRUNERS:
        exponents = []
        for sample in range(3):
            model = build("lottery/vgg16-bn", SHAPE, CLASSES, generator=randomness.generator(sample, "initial weights"))
            entry = CRITERIA[name]
            batches = examples(folder, sample) if entry.needs_batches else [(torch.zeros(1, *SHAPE), torch.zeros(1))]
            search = search_by_exponents if entry.depends_on_target else search_by_ranks
            exponents.append(search(name, model, batches, sample))
        direct, effective = map(list, zip(*exponents, strict=True))
        numbers[name] = {"direct": direct, "effective": effective, "theirs": PUBLISHED[name]}
        print(name, numbers[name], flush=True)
    total, layers = Masks.of(model).total, len(prunable(model))
    numbers["weights"], numbers["layers"] = total, layers
    keep("layer_collapse", "python -m benchmarks.layer_collapse FOLDER", numbers)


if __name__ == "__main__":
    main(sys.argv[1])
