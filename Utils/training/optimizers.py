"""Optimizers: creates the optimizer of a recipe, with weight decay on kernels or on all parameters."""

import torch

from Layers.forms.weight_form import Parameters
from Utils.config.resolved import Recipe


def make_optimizer(parameters: Parameters, recipe: Recipe) -> torch.optim.Optimizer:
    """Create the optimizer of a resolved recipe; biases and normalisation decay only if its scope is `all`."""
    others = recipe.weight_decay if recipe.weight_decay_scope == "all" else 0.0
    groups = [
        {"params": parameters.kernels, "weight_decay": recipe.weight_decay},
        {"params": parameters.others, "weight_decay": others},
    ]
    groups = [group for group in groups if group["params"]]
    if recipe.optimizer == "adam":
        return torch.optim.Adam(groups, lr=recipe.lr, fused=True)
    if recipe.optimizer == "rmsprop":
        return torch.optim.RMSprop(groups, lr=recipe.lr, foreach=True)
    momentum = 0.0 if recipe.optimizer == "sgd" else recipe.momentum
    return torch.optim.SGD(groups, lr=recipe.lr, momentum=momentum, nesterov=recipe.optimizer == "nesterov", fused=True)
