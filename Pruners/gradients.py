"""What is the gradient of the training loss?"""

from collections.abc import Iterable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from Layers import prunable
from Utils.errors import UserError


def loss_gradients(model: nn.Module, batches: Iterable[tuple[Tensor, Tensor]]) -> dict[str, Tensor]:
    """Gradient of the mean cross-entropy over all examples, for each prunable parameter, in training mode.

    Every example counts the same, whatever batch it is in. The model's buffers change; pass a copy.
    """
    model.train()
    parameters = {name: weight for name, (weight, _) in prunable(model).items()}
    gradients = {name: torch.zeros_like(weight) for name, weight in parameters.items()}
    examples = 0
    for inputs, labels in batches:
        loss = F.cross_entropy(model(inputs), labels, reduction="sum")
        found = torch.autograd.grad(loss, list(parameters.values()), allow_unused=True)
        for name, gradient in zip(parameters, found, strict=True):
            if gradient is not None:  # None: the loss does not depend on it
                gradients[name] += gradient
        examples += len(labels)
    if not examples:
        raise UserError("a pruner that needs training examples got none")
    return {name: gradient / examples for name, gradient in gradients.items()}
