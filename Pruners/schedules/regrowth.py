"""Regrowth: exchanges weights of a sparse network during training, by dropping some and growing as many.

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
    """Share of weights to exchange after `step` steps: a half cosine that reaches 0 at `end` (RigL, section 3)."""
    return drop_fraction / 2 * (1 + math.cos(math.pi * step / end)) if step < end else 0.0


def random_growth(model: nn.Module, generator: torch.Generator) -> dict[str, Tensor]:
    """Growth scores, uniform at random (SET)."""
    return {
        name: torch.rand(weight.shape, generator=generator).to(weight.device)
        for name, (weight, _) in prunable(model).items()
    }


def gradient_growth(model: nn.Module, batches: Batches) -> dict[str, Tensor]:
    """Growth scores |dL/dw| of the masked network, so that the steepest weights regrow first (RigL)."""
    copied = copy.deepcopy(model).train()
    with torch.enable_grad():
        return {name: gradient.abs() for name, gradient in hidden_gradients(copied, batches).items()}


@torch.no_grad()
def drop_and_grow(model: nn.Module, fraction: float, growth: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Prune the smallest `fraction` of each layer's kept weights and regrow as many, initialised to zero.

    `growth` scores all entries that are then pruned; the highest regrow first. An entry dropped by this call may
    regrow, as in the paper's algorithm 1, and then keeps its value: in a layer with fewer pruned entries than are
    dropped, some must. Masks change in place and keep their counts. Returns a bool tensor of new entries for each
    parameter.
    """
    new = {}
    for name, (weight, mask) in prunable(model).items():
        count = int(fraction * int(mask.sum()))
        before = mask.flatten().clone()
        kept = before.clone()
        magnitudes = weight.flatten().abs().masked_fill(~before, math.inf)
        kept[weakest(magnitudes, count)] = False
        scores = growth[name].flatten().to(torch.float64).masked_fill(kept, -math.inf)
        grown = strongest(scores, count)
        mask.copy_((kept | grown).reshape(mask.shape))
        new[name] = (grown & ~before).reshape(mask.shape)
        weight[new[name]] = 0
    return new
