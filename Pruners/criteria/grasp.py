"""GraSP: keep the flow of gradients (Wang et al. 2020, "Picking winning tickets before training")."""

import torch
from torch import Tensor, nn

from Layers import prunable
from Pruners.criteria.gradients import hessian_times, loss_gradients
from Pruners.criteria.scores import Batches

TEMPERATURE = 200
"""Outputs are divided by it, as in the paper."""


def grasp(model: nn.Module, batches: Batches, generator: torch.Generator) -> dict[str, Tensor]:
    """w (H g), g the gradient and H the Hessian of the loss at the same examples, with the same units dropped out.

    Removing a weight changes the squared norm of the gradient by -w (H g) (eq. 8), up to a factor; what would raise it
    most, or lower it least, goes first.
    """
    torch.manual_seed(generator.initial_seed())
    gradients = loss_gradients(model, batches, TEMPERATURE)
    torch.manual_seed(generator.initial_seed())
    curved = hessian_times(model, batches, gradients, TEMPERATURE)
    return {name: weight.detach() * curved[name] for name, (weight, _) in prunable(model).items()}
