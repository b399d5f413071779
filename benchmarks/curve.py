"""Exact curve: seconds of the whole curve of effective against direct sparsity, and of its parts.

    python -m benchmarks.curve

LeNet-300-100 and LeNet-5 run on one core, the layers of VGG-16 at 32 x 32 on two. The parts are the ranking (a sort of
all scores) and the passes from ranks, exact and by graph. One plain forward pass gives the scale. The peak of memory is
that of the whole process.
"""

import resource

import torch
from torch import nn

from benchmarks.timing import keep, median_seconds
from Layers import MaskedBatchNorm2d, MaskedConv2d, MaskedLinear, prunable
from Models import build
from Utils.connectivity.effective import compression_curve, counts_by_kept, propagate_ranks, ranking

VGG16 = (64, 64, "pool", 128, 128, "pool", *(256,) * 3, "pool", *(512,) * 3, "pool", *(512,) * 3, "pool")


def vgg16() -> nn.Module:
    """The layers of VGG-16 on 32 x 32 images: 14,715,584 weights."""
    layers: list[nn.Module] = []
    channels = 3
    for width in VGG16:
        if isinstance(width, str):
            layers.append(nn.MaxPool2d(2))
        else:
            layers += [MaskedConv2d(channels, width, 3, padding=1), MaskedBatchNorm2d(width), nn.ReLU()]
            channels = width
    return nn.Sequential(*layers, nn.Flatten(), MaskedLinear(512, 10))


def measure(model: nn.Module, shape: tuple[int, int, int], threads: int, repeats: int) -> dict:
    """Median seconds of each part with `threads` threads; `shape` excludes the batch."""
    torch.set_num_threads(threads)
    scores = {name: torch.rand(weight.shape) for name, (weight, _) in prunable(model).items()}
    ranks = ranking(model, scores)
    image = torch.zeros(1, *shape)
    model.eval()

    @torch.no_grad()
    def forward() -> None:
        model(image)

    return {
        "weights": sum(score.numel() for score in scores.values()),
        "threads": threads,
        "ranking_seconds": median_seconds(lambda: ranking(model, scores), repeats),
        "exact_curve_from_ranks_seconds": median_seconds(
            lambda: counts_by_kept(propagate_ranks(model, ranks, shape).effective), repeats
        ),
        "graph_curve_from_ranks_seconds": median_seconds(
            lambda: counts_by_kept(propagate_ranks(model, ranks, shape, "graph").effective), repeats
        ),
        "whole_exact_curve_seconds": median_seconds(lambda: compression_curve(model, scores, shape), repeats),
        "plain_forward_seconds": median_seconds(forward, repeats),
    }


def main() -> None:
    """Measure three networks."""
    numbers = {
        "lenet300100": measure(build("lenet300100"), (1, 28, 28), threads=1, repeats=21),
        "lenet5": measure(build("lenet5"), (3, 32, 32), threads=1, repeats=21),
        "vgg16": measure(vgg16(), (3, 32, 32), threads=2, repeats=5),
        "peak_memory_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }
    keep("curve", "python -m benchmarks.curve", numbers)


if __name__ == "__main__":
    main()
