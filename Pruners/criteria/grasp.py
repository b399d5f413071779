"""GraSP: preserves the gradient flow (Wang et al. 2020, "Picking winning tickets before training")."""

import torch
from torch import Tensor, nn

from Layers import prunable
from Pruners.criteria.gradients import hessian_times, loss_gradients
from Pruners.criteria.scores import Batches

TEMPERATURE = 200
"""Divisor of the outputs, as in the paper."""


def grasp(model: nn.Module, batches: Batches, generator: torch.Generator) -> dict[str, Tensor]:
    """w (H g), where g is the gradient and H the Hessian of the loss on the same examples with the same dropout.

    Removing a weight changes the squared norm of the gradient by -w (H g) (eq. 8), up to a factor. Weights whose
    removal raises the norm most, or lowers it least, are pruned first.
    """
    torch.manual_seed(generator.initial_seed())
    gradients = loss_gradients(model, batches, TEMPERATURE)
    torch.manual_seed(generator.initial_seed())
    products = hessian_times(model, batches, gradients, TEMPERATURE)
    return {name: weight.detach() * products[name] for name, (weight, _) in prunable(model).items()}
