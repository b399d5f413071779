"""How long does it take to tell which kept weights are effective?

    python -m benchmarks.masks

Random masks with ERK's shares at 99%, two cores: products of matrices, beside the blocks of (max, min) products that
ranks need, in turn; both find the same weights.
"""

import time
from statistics import median
from unittest.mock import patch

import torch

from benchmarks.timing import keep
from Layers import Masks
from Models import build
from Models.registry import native_shape
from Pruners import make_pruner
from Pruners.allocation import allocate
from Utils.connectivity import effective_masks
from Utils.connectivity.ops import maxmin

NETWORKS = {
    "lenet300100": 21,
    "lenet5": 21,
    "vgg16": 5,
    "lottery/resnet20": 5,
    "resnet18": 3,
    "tinyimagenet/resnet50": 3,
}
"""Repeats."""


def compare(name: str, repeats: int) -> dict:
    """Medians of both ways, for one network."""
    shape, _ = native_shape(name)
    model = build(name, generator=torch.Generator().manual_seed(0))
    scores = make_pruner("random/erk").score(model, generator=torch.Generator().manual_seed(1))
    masks = allocate(model, scores, 0.99, shape, "direct")

    def in_blocks() -> dict[str, torch.Tensor]:
        with patch.object(maxmin, "_is_mask", lambda ranks: False):
            return effective_masks(model, shape, masks)

    found = effective_masks(model, shape, masks)
    assert all(torch.equal(found[key], other) for key, other in in_blocks().items())
    taken: dict[str, list[float]] = {"seconds": [], "seconds_in_blocks": []}
    for _ in range(repeats):
        for way, measure in zip(taken, (lambda: effective_masks(model, shape, masks), in_blocks), strict=True):
            started = time.perf_counter()
            measure()
            taken[way].append(time.perf_counter() - started)
    seconds, before = map(median, taken.values())
    return {
        "kept": masks.kept,
        "effective": Masks(found).kept,
        "seconds": seconds,
        "seconds_in_blocks": before,
        "times_faster": before / seconds,
    }


if __name__ == "__main__":
    torch.set_num_threads(2)
    keep("masks", "python -m benchmarks.masks", {name: compare(name, times) for name, times in NETWORKS.items()})
