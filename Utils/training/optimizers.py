"""Optimizers: creates the optimizer of a recipe, with weight decay on kernels only."""

import torch

from Layers.forms.weight_form import Parameters
from Utils.config.resolved import Recipe


def make_optimizer(parameters: Parameters, recipe: Recipe) -> torch.optim.Optimizer:
    """Create the optimizer of a resolved recipe; weight decay excludes biases and normalisation."""
    groups = [
        {"params": parameters.decayed, "weight_decay": recipe.weight_decay},
        {"params": parameters.undecayed, "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    if recipe.optimizer == "adam":
        return torch.optim.Adam(groups, lr=recipe.lr, fused=True)
    if recipe.optimizer == "rmsprop":
        return torch.optim.RMSprop(groups, lr=recipe.lr, foreach=True)
    momentum = 0.0 if recipe.optimizer == "sgd" else recipe.momentum
    return torch.optim.SGD(groups, lr=recipe.lr, momentum=momentum, nesterov=recipe.optimizer == "nesterov", fused=True)
