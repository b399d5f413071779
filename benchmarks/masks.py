"""Effective masks: seconds to compute the effective weights of a mask, by matrix products and by (max, min) blocks.

    python -m benchmarks.masks

Random masks with ERK quotas at 99% sparsity, on two cores. Masks need only matrix products; ranks need blocks of (max,
min) products. Both methods are timed in turn and return the same weights.
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
"""Repeats of the measurement, by architecture."""


def compare(name: str, repeats: int) -> dict:
    """Median seconds of both methods for one network; checks that they agree."""
    shape, _ = native_shape(name)
    model = build(name, generator=torch.Generator().manual_seed(0))
    scores = make_pruner("random/erk").score(model, generator=torch.Generator().manual_seed(1))
    masks = allocate(model, scores, 0.99, shape, "direct")

    def in_blocks() -> dict[str, torch.Tensor]:
        with patch.object(maxmin, "_is_mask", lambda ranks: False):
            return effective_masks(model, shape, masks)

    effective = effective_masks(model, shape, masks)
    assert all(torch.equal(effective[key], mask) for key, mask in in_blocks().items())
    times: dict[str, list[float]] = {"seconds": [], "seconds_in_blocks": []}
    for _ in range(repeats):
        for method, function in zip(times, (lambda: effective_masks(model, shape, masks), in_blocks), strict=True):
            started = time.perf_counter()
            function()
            times[method].append(time.perf_counter() - started)
    seconds, seconds_in_blocks = map(median, times.values())
    return {
        "kept": masks.kept,
        "effective": Masks(effective).kept,
        "seconds": seconds,
        "seconds_in_blocks": seconds_in_blocks,
        "times_faster": seconds_in_blocks / seconds,
    }


def main() -> None:
    """Compare both methods for all networks."""
    torch.set_num_threads(2)
    keep("masks", "python -m benchmarks.masks", {name: compare(name, repeats) for name, repeats in NETWORKS.items()})


if __name__ == "__main__":
    main()
