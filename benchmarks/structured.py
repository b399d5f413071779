"""Structured pruning: parameters, multiply-adds and seconds saved by pruning half of VGG-16's filters.

    python -m benchmarks.structured FOLDER

FOLDER contains CIFAR-10 as images. 3SP, plain and compute-aware, scores 512 of them in training mode and prunes half of
all filters. The remaining filters are then cut out into a smaller dense network with the same outputs. Seconds are for
inference of batches of 1 and 128 images on two cores, unpruned, with masks and cut, in turn.
"""

import copy
import statistics
import sys
import time

import torch
from torch import Tensor, nn

from benchmarks.timing import keep
from Layers import prunable, unmask
from Models import build
from Pruners import make_pruner
from Pruners.units import allocate_units, groups_of, score_units
from Utils.config.target import Target
from Utils.data.dataset import facts, load
from Utils.data.image_spec import ImageSpec
from Utils.sparsity.measure import measure

SHAPE, HALF, REPEATS = (3, 32, 32), Target.of("0.5"), 15


def cut(model: nn.Module) -> nn.Module:
    """The smaller dense network of a pruned chain of layers.

    Requires that no layer reads the output of a pruned filter.
    """
    small = unmask(copy.deepcopy(model)).eval()
    masks = {name.removesuffix(".weight"): mask for name, (_, mask) in prunable(model).items()}
    kept = torch.ones(SHAPE[0], dtype=torch.bool)
    last = list(masks)[-1]
    for name, layer in small.named_children():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            rows = masks[name].flatten(1).any(1) if name != last else torch.ones(len(layer.weight), dtype=torch.bool)
            layer.weight = nn.Parameter(layer.weight[rows][:, kept].detach())
            if layer.bias is not None:
                layer.bias = nn.Parameter(layer.bias[rows].detach())
            kept = rows
        elif isinstance(layer, nn.modules.batchnorm._BatchNorm):
            layer.weight, layer.bias = (nn.Parameter(value[kept].detach()) for value in (layer.weight, layer.bias))
            layer.running_mean, layer.running_var = layer.running_mean[kept], layer.running_var[kept]
            layer.num_features = int(kept.sum())
    return small


def seconds(networks: dict[str, nn.Module], images: Tensor) -> dict[str, float]:
    """Median seconds of inference of each network, measured in turn; the first repeat does not count."""
    times: dict[str, list[float]] = {name: [] for name in networks}
    with torch.inference_mode():
        for _ in range(REPEATS + 1):
            for name, network in networks.items():
                started = time.perf_counter()
                network(images)
                times[name].append(time.perf_counter() - started)
    return {name: round(statistics.median(repeats[1:]), 5) for name, repeats in times.items()}


def main(folder: str) -> None:
    """Measure plain and compute-aware scores."""
    torch.set_num_threads(2)
    facts("imagefolder", folder)
    data = load("imagefolder", folder, ImageSpec(SHAPE))
    numbers = {}
    for is_aware in (False, True):
        model = build("vgg16", SHAPE, 10, generator=torch.Generator().manual_seed(0))
        batches = data.prune_examples(0, 512, 128)
        scores = score_units(make_pruner("3sp"), model, batches, HALF, SHAPE, compute_aware=is_aware)
        dense = copy.deepcopy(model).eval()
        allocate_units(model, scores, HALF, SHAPE).install(model)
        model.eval()
        small = cut(model)
        images = torch.rand(128, *SHAPE)
        torch.testing.assert_close(small(images), model(images), rtol=1e-3, atol=1e-3)
        totals = measure(model, SHAPE).totals
        networks = {"unpruned": dense, "with masks": model, "cut": small}
        numbers["compute-aware" if is_aware else "plain"] = {
            "filters": {
                name: int(prunable(model)[name][1].flatten(1).any(1).sum()) for name in groups_of(model, SHAPE).groups
            },
            "parameters": [sum(p.numel() for p in network.parameters()) for network in (dense, small)],
            "multiply_adds": [totals["macs"], totals["effective_macs"]],
            "seconds, 1 image": seconds(networks, images[:1]),
            "seconds, 128 images": seconds(networks, images),
        }
    keep("structured", "python -m benchmarks.structured FOLDER", numbers)


if __name__ == "__main__":
    main(sys.argv[1])
