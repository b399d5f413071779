"""How does a sparse network exchange weights while it trains?

Mocanu et al. 2018 (SET, "Scalable training of artificial neural networks with adaptive sparse connectivity"); Evci et
al. 2020 (RigL, "Rigging the lottery: making all tickets winners").
"""

import copy
import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from Layers import prunable
from Pruners.criteria.gradients import hidden_gradients
from Pruners.criteria.scores import Batches
from Utils.topk import strongest, weakest


def drop_share(drop_fraction: float, step: int, end: int) -> float:
    """The share of weights that is exchanged after so many steps: half a cosine down to none (RigL, section 3)."""
    return drop_fraction / 2 * (1 + math.cos(math.pi * step / end)) if step < end else 0.0


def random_growth(model: nn.Module, generator: torch.Generator) -> dict[str, Tensor]:
    """A random order of return (SET)."""
    return {
        name: torch.rand(weight.shape, generator=generator).to(weight.device)
        for name, (weight, _) in prunable(model).items()
    }


def gradient_growth(model: nn.Module, batches: Batches) -> dict[str, Tensor]:
    """Those first by whose return the loss would change most (RigL)."""
    copied = copy.deepcopy(model).train()
    with torch.enable_grad():
        return {name: gradient.abs() for name, gradient in hidden_gradients(copied, batches).items()}


@torch.no_grad()
def drop_and_grow(model: nn.Module, fraction: float, growth: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Prune the smallest `fraction` of each layer's weights, and let as many return, which start from zero.

    `growth` scores what is pruned: higher returns first; what is pruned just now may return, and keeps its value then.
    The masks change, each keeps as many entries. Returns, for each parameter, which entries are new.
    """
    new = {}
    for name, (weight, mask) in prunable(model).items():
        count = min(int(fraction * int(mask.sum())), int((~mask).sum()))
        before = mask.flatten().clone()
        kept = before.clone()
        sizes = weight.flatten().abs().masked_fill(~before, math.inf)
        kept[weakest(sizes, count)] = False
        scores = growth[name].flatten().to(torch.float64).masked_fill(kept, -math.inf)
        grown = strongest(scores, count)
        mask.copy_((kept | grown).reshape(mask.shape))
        new[name] = (grown & ~before).reshape(mask.shape)
        weight[new[name]] = 0
    return new
