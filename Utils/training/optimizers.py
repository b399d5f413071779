"""Optimizers: creates the optimizer of a recipe, with weight decay on kernels only."""

import torch
from torch import nn

from Layers import prunable
from Utils.config.resolved import Recipe


def make_optimizer(model: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """Create the optimizer of a resolved recipe; weight decay excludes biases and normalisation."""
    kernels = {name for name, (weight, _) in prunable(model).items() if weight.dim() > 1}
    kernels |= {name for name, parameter in model.named_parameters() if parameter.dim() > 1}
    named = [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]
    groups = [
        {"params": [parameter for name, parameter in named if name in kernels], "weight_decay": recipe.weight_decay},
        {"params": [parameter for name, parameter in named if name not in kernels], "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    if recipe.optimizer == "adam":
        return torch.optim.Adam(groups, lr=recipe.lr, fused=True)
    if recipe.optimizer == "rmsprop":
        return torch.optim.RMSprop(groups, lr=recipe.lr, foreach=True)
    momentum = 0.0 if recipe.optimizer == "sgd" else recipe.momentum
    return torch.optim.SGD(groups, lr=recipe.lr, momentum=momentum, nesterov=recipe.optimizer == "nesterov", fused=True)
