"""Optimizers: creates the optimizer of a recipe, with weight decay on kernels only."""

import torch
from torch import nn

from Layers import prunable
from Utils.config.settings import Training


def make_optimizer(model: nn.Module, training: Training) -> torch.optim.Optimizer:
    """Create the optimizer of a resolved recipe; weight decay excludes biases and normalisation."""
    assert training.lr is not None and training.weight_decay is not None
    kernels = {name for name, (weight, _) in prunable(model).items() if weight.dim() > 1}
    kernels |= {name for name, parameter in model.named_parameters() if parameter.dim() > 1}
    named = [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]
    groups = [
        {"params": [parameter for name, parameter in named if name in kernels], "weight_decay": training.weight_decay},
        {"params": [parameter for name, parameter in named if name not in kernels], "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    if training.optimizer == "adam":
        return torch.optim.Adam(groups, lr=training.lr, fused=True)
    if training.optimizer == "rmsprop":
        return torch.optim.RMSprop(groups, lr=training.lr, foreach=True)
    momentum = 0.0 if training.optimizer == "sgd" else training.momentum or 0.0
    return torch.optim.SGD(
        groups, lr=training.lr, momentum=momentum, nesterov=training.optimizer == "nesterov", fused=True
    )
