"""Comparison of networks: seconds of all pairwise matrices among nine dense networks, and of unit distances.

    python -m benchmarks.comparison

Networks are 784-100-100-100-100-100-10 with random weights and random masks of 10%, in three groups; images are random.
Distances of units are computed by matrix products, and by a loop over pairs of units, as research code does: both give
the same numbers. Two cores.
"""

import time

import numpy as np
import torch

from benchmarks.timing import keep, median_seconds
from Experiments.comparison.activations.tables import activation_tables
from Experiments.comparison.distances.measures import MEASURES
from Experiments.comparison.distances.tables import distance_tables
from Experiments.comparison.networks import Network
from Layers import Masks, prunable
from Models import build

NETWORKS, UNITS, DENSITY, IMAGES, REPEATS = 9, 784, 0.1, 1000, 3


def network(seed: int) -> Network:
    """A network with random effective weights."""
    generator = torch.Generator().manual_seed(seed)
    model = build("gem-miner/fc", (1, 28, 28), 10, generator=generator).eval()
    Masks({
        name: torch.rand(mask.shape, generator=generator) < DENSITY for name, (_, mask) in prunable(model).items()
    }).install(model)  # fmt: skip
    return Network(f"g{seed % 3} s{seed}", f"g{seed % 3}", seed, model, (1, 28, 28), "", "")


def by_loop(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Jaccard distances of the positions of weights, pair by pair."""
    first, second = first != 0, second != 0
    return np.array([[1 - (one & other).sum() / max((one | other).sum(), 1) for other in second] for one in first])


def unit_seconds() -> dict[str, float]:
    """Seconds for all pairs of `UNITS` units with as many inputs, by measure, and by the loop for the first one."""
    draw = np.random.default_rng(0)
    first, second = (draw.normal(size=(UNITS, UNITS)) * (draw.random((UNITS, UNITS)) < DENSITY) for _ in range(2))
    seconds = {
        name: median_seconds(lambda measure=measure: measure.between(first, second), REPEATS)
        for name, measure in MEASURES.items()
    }
    started = time.perf_counter()
    expected = by_loop(first, second)
    seconds["ned by a loop"] = time.perf_counter() - started
    np.testing.assert_allclose(MEASURES["ned"].between(first, second).ratios, expected, atol=1e-12)
    return seconds | {"times faster": seconds["ned by a loop"] / seconds["ned"]}


def main() -> None:
    """Measure both."""
    torch.set_num_threads(2)
    networks = [network(seed) for seed in range(NETWORKS)]
    images = torch.randn(IMAGES, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    for one in networks:
        one.layers  # noqa: B018  (reads effective weights, once)
    matrices = {
        "distances (NED, SaSD, MAED)": lambda: distance_tables(networks, np.random.default_rng(0), nulls=0),
        "distances with a random pair beside each": lambda: distance_tables(
            networks, np.random.default_rng(0), nulls=1
        ),
        f"activations on {IMAGES} images": lambda: activation_tables(networks, images),
    }
    numbers = {name: median_seconds(function, REPEATS) for name, function in matrices.items()}
    pairs = NETWORKS * (NETWORKS - 1) // 2
    keep("comparison", "python -m benchmarks.comparison", {
        f"all {pairs} pairs of {NETWORKS} networks, seconds": numbers,
        f"{UNITS} x {UNITS} unit distances, seconds": unit_seconds(),
    })  # fmt: skip


if __name__ == "__main__":
    main()
