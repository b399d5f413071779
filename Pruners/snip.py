"""SNIP: keep what the loss is most sensitive to (Lee et al. 2019, "SNIP: Single-shot network pruning")."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from Layers import prunable
from Pruners.gradients import loss_gradients


def snip(
    model: nn.Module, batches: Iterable[tuple[Tensor, Tensor]], target: object, generator: torch.Generator
) -> dict[str, Tensor]:
    """|w dL/dw| (eq. 4, without the normalisation, which changes no order), L the mean cross-entropy."""
    gradients = loss_gradients(model, batches)
    return {name: (weight * gradients[name]).detach().abs() for name, (weight, _) in prunable(model).items()}
