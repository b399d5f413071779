"""Pruning time: seconds to prune VGG-16, against a straightforward implementation.

    python -m benchmarks.pruning

Each call scores and allocates, to 99% direct sparsity, with 32 x 32 images, on two cores. The straightforward
implementation multiplies weights by masks and finds the threshold among all scores with `kthvalue`, in each round of
SynFlow. Both score SynFlow in float64, and both keep exactly 147,156 weights.
"""

import copy
import statistics
import time
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from benchmarks.timing import keep
from Layers import Masks, prunable
from Layers.masked import Masked
from Models import build
from Pruners import make_pruner
from Pruners.allocation import allocate
from Pruners.criteria.grasp import grasp
from Pruners.criteria.linearised import Linear, linearise, source
from Pruners.criteria.magnitude import magnitude
from Pruners.criteria.snip import snip
from Pruners.registry import CRITERIA
from Utils.config.target import Target

SHAPE = (3, 32, 32)
TARGET = Target.of("0.99")
EXAMPLES, BATCH = 512, 128
REPEATS = 3
FUNCTIONS: dict[str, Callable] = {"mag": magnitude, "snip": snip, "grasp": grasp}


def straightforward(name: str, model: nn.Module, batches: list) -> Masks:
    """Masks from a threshold over all scores."""
    if name == "synflow":
        return straightforward_synflow(model)
    scores = FUNCTIONS[name](copy.deepcopy(model).train(), batches, torch.Generator().manual_seed(0))
    return above(scores, TARGET.kept(sum(score.numel() for score in scores.values())))


def above(scores: dict[str, Tensor], kept: int) -> Masks:
    """Masks of the `kept` highest scores: those above the threshold, then the first of those equal to it."""
    flat = torch.cat([score.detach().reshape(-1) for score in scores.values()])
    threshold = flat.kthvalue(len(flat) - kept + 1).values
    mask = flat > threshold
    missing = kept - int(mask.sum())
    mask[(flat == threshold).nonzero()[:missing, 0]] = True
    parts = mask.split([score.numel() for score in scores.values()])
    return Masks({name: part.reshape(scores[name].shape) for name, part in zip(scores, parts, strict=True)})


def straightforward_synflow(model: nn.Module, rounds: int = CRITERIA["synflow"].iterations) -> Masks:
    """SynFlow masks, with a product of weights and masks in every layer."""
    model = copy.deepcopy(model)
    linearise(model)
    weights = {name: weight for name, (weight, _) in prunable(model).items()}
    factors = {id(weight): torch.ones_like(weight) for weight in weights.values()}
    for module in model.modules():
        if isinstance(module, Masked):
            module.masked = partial(_product, module, factors)  # type: ignore[method-assign]
    masks, total = Masks.of(model), sum(weight.numel() for weight in weights.values())
    for step in range(1, rounds + 1):
        with Linear():
            flow = model(source(SHAPE, torch.device("cpu"))).sum()
        gradients = torch.autograd.grad(flow, list(weights.values()))
        scores = {
            name: gradient * weight.detach()
            for (name, weight), gradient in zip(weights.items(), gradients, strict=True)
        }
        kept = total - int(total - total * TARGET.density ** (step / rounds))
        masks = above(scores, TARGET.kept(total) if step == rounds else kept)
        for name, mask in masks.items():
            factors[id(weights[name])].copy_(mask)
    return masks


def _product(module: nn.Module, factors: dict[int, Tensor], name: str) -> Tensor:
    """The parameter `name` of a module times its mask, or unchanged if it has none."""
    parameter = getattr(module, name)
    return parameter * factors[id(parameter)] if id(parameter) in factors else parameter


def optimised(name: str, model: nn.Module, batches: list) -> Masks:
    """Masks from this project's pruner."""
    return allocate(model, make_pruner(name).score(model, batches, TARGET), TARGET, SHAPE, "direct")


def main() -> None:
    """Time both implementations, in turn."""
    torch.set_num_threads(2)
    generator = torch.Generator().manual_seed(0)
    model = build("vgg16", generator=generator)
    batches = [
        (torch.randn(BATCH, *SHAPE, generator=generator), torch.randint(0, 10, (BATCH,), generator=generator))
        for _ in range(EXAMPLES // BATCH)
    ]
    numbers = {}
    for name in ("mag", "snip", "grasp", "synflow"):
        seconds: dict[str, list[float]] = {"ours": [], "straightforward": []}
        results = {}
        for _ in range(REPEATS):
            for implementation, function in (("ours", optimised), ("straightforward", straightforward)):
                started = time.perf_counter()
                results[implementation] = function(name, model, batches)
                seconds[implementation].append(time.perf_counter() - started)
        medians = {implementation: statistics.median(times) for implementation, times in seconds.items()}
        numbers[name] = {
            **{f"{implementation}_seconds": median for implementation, median in medians.items()},
            "ratio": medians["straightforward"] / medians["ours"],
            "kept": [masks.kept for masks in results.values()],
            "overlap": results["ours"].overlap(results["straightforward"]),
        }
        print(name, numbers[name], flush=True)
    keep("pruning", "python -m benchmarks.pruning", {"examples": EXAMPLES, "repeats": REPEATS, **numbers})


if __name__ == "__main__":
    main()
