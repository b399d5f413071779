"""Taylor: squared first-order change of the loss when a weight is removed."""

import torch
from torch import Tensor, nn

from Layers import prunable
from Pruners.criteria.gradients import batch_gradients
from Pruners.criteria.scores import Batches


def taylor(model: nn.Module, batches: Batches, generator: object) -> dict[str, Tensor]:
    """Mean over batches of (w dL/dw)^2 (Molchanov et al. 2019, "Importance estimation", eq. 8).

    SNIP averages first and takes the absolute value afterwards.
    """
    weights = {name: weight.detach() for name, (weight, _) in prunable(model).items()}
    scores = {name: torch.zeros_like(weight) for name, weight in weights.items()}
    examples = 0
    for gradients, count in batch_gradients(model, batches):
        for name, gradient in gradients.items():
            scores[name] += (weights[name] * gradient).square() / count
        examples += count
    return {name: score / examples for name, score in scores.items()}
