"""LAMP: squared weight relative to its layer's remainder (Lee et al. 2021, "Layer-adaptive sparsity for the MBP")."""

import torch
from torch import Tensor, nn

from Layers import prunable
from Utils.topk import descending_order


def lamp(model: nn.Module, batches: object, generator: object) -> dict[str, Tensor]:
    """w^2 / (sum of the layer's squares at least as large as w^2), eq. 1, in float64.

    Of equal weights the first counts as the larger, as everywhere. The largest weight of every layer scores 1, so no
    layer is emptied as long as the target keeps one weight per layer.
    """
    return {name: _lamp(weight.detach(), mask) for name, (weight, mask) in prunable(model).items()}


def _lamp(weight: Tensor, mask: Tensor) -> Tensor:
    squares = (weight.double() * mask).square().reshape(-1)
    order = descending_order(squares)
    remaining = squares[order].cumsum(0)
    scores = torch.empty_like(squares)
    scores[order] = torch.where(remaining == 0, 0.0, squares[order] / remaining)
    return scores.reshape(weight.shape)
