"""SNIP and FORCE: keep what the loss is most sensitive to.

Lee et al. 2019 ("SNIP: Single-shot network pruning"); de Jorge et al. 2021 ("Progressive skeletonization: trimming more
fat from a network at initialization"), who prune in many rounds: Iterative SNIP is the criterion `snip` in rounds.
"""

import torch
from torch import Tensor, nn

from Layers import prunable
from Pruners.gradients import loss_gradients
from Pruners.scores import Batches


def snip(model: nn.Module, batches: Batches, generator: object) -> dict[str, Tensor]:
    """|w dL/dw| (Lee et al., eq. 4, without the normalisation, which changes no order), L the mean cross-entropy."""
    gradients = loss_gradients(model, batches)
    return {name: (weight * gradients[name]).detach().abs() for name, (weight, _) in prunable(model).items()}


def force(model: nn.Module, batches: Batches, generator: object) -> dict[str, Tensor]:
    """|w dL/dv|, v = w where kept and 0 where pruned (de Jorge et al., eq. 7): pruned weights have a score, too."""
    originals = {name: weight.detach().clone() for name, (weight, _) in prunable(model).items()}
    masks = {name: mask.clone() for name, (_, mask) in prunable(model).items()}
    with torch.no_grad():
        for weight, mask in prunable(model).values():
            weight.mul_(mask)
            mask.fill_(True)
    gradients = loss_gradients(model, batches)
    with torch.no_grad():
        for name, (weight, mask) in prunable(model).items():
            weight.copy_(originals[name])
            mask.copy_(masks[name])
    return {name: (original * gradients[name]).abs() for name, original in originals.items()}
