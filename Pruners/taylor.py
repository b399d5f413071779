"""Taylor and Fisher: how much would the loss change without a weight, to first and to second order?"""

import torch
from torch import Tensor, nn

from Layers import prunable
from Pruners.gradients import batch_gradients, squared_gradients
from Pruners.scores import Batches


def taylor(model: nn.Module, batches: Batches, generator: object) -> dict[str, Tensor]:
    """The mean over batches of (w dL/dw)^2 (Molchanov et al. 2019, "Importance estimation", eq. 8).

    SNIP takes the mean first and squares (or takes the absolute value) afterwards.
    """
    weights = {name: weight.detach() for name, (weight, _) in prunable(model).items()}
    scores = {name: torch.zeros_like(weight) for name, weight in weights.items()}
    examples = 0
    for gradients, count in batch_gradients(model, batches):
        for name, gradient in gradients.items():
            scores[name] += (weights[name] * gradient).square() / count
        examples += count
    return {name: score / examples for name, score in scores.items()}


def fisher(model: nn.Module, batches: Batches, generator: object) -> dict[str, Tensor]:
    """w^2 F / 2, F the mean over examples of (dL/dw)^2: the diagonal of the empirical Fisher information.

    It stands for the Hessian's diagonal in optimal brain damage (LeCun et al. 1990, eq. 5; Theis et al. 2018).
    """
    information = squared_gradients(model, batches)
    return {name: weight.detach().square() * information[name] / 2 for name, (weight, _) in prunable(model).items()}
