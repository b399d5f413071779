"""Gradients of the training loss over all examples, shared by the criteria that use data."""

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from Layers import prunable
from Pruners.criteria.scores import Batches
from Utils.errors import UserError
from Utils.example_gradients import example_gradients, fix_statistics

Gradients = dict[str, Tensor]
"""One tensor per prunable parameter, of the parameter's shape, by name."""


def loss_gradients(model: nn.Module, batches: Batches, temperature: float = 1.0) -> Gradients:
    """Gradient of the mean cross-entropy over all examples, with outputs divided by `temperature`.

    Every example has the same weight, whatever the size of its batch. The model's buffers change; pass a copy.
    Raises `UserError` if there is no batch.
    """
    sums = _zeros(model)
    examples = 0
    for gradients, count in batch_gradients(model, batches, temperature):
        for name, gradient in gradients.items():
            sums[name] += gradient
        examples += count
    return {name: total / examples for name, total in sums.items()}


def hidden_gradients(model: nn.Module, batches: Batches) -> Gradients:
    """Gradient with respect to the masked weights of the forward pass, so that pruned entries have one, too.

    For a pruned entry it shows how the loss would change if the entry regrew. The model's buffers change; pass a copy.
    """
    originals = {name: weight.detach().clone() for name, (weight, _) in prunable(model).items()}
    masks = {name: mask.clone() for name, (_, mask) in prunable(model).items()}
    with torch.no_grad():
        for weight, mask in prunable(model).values():
            weight.mul_(mask)
            mask.fill_(True)
    gradients = loss_gradients(model, batches)
    with torch.no_grad():
        for name, (weight, mask) in prunable(model).items():
            weight.copy_(originals[name])
            mask.copy_(masks[name])
    return gradients


def batch_gradients(
    model: nn.Module, batches: Batches, temperature: float = 1.0, keep_graph: bool = False
) -> Iterator[tuple[Gradients, int]]:
    """Yield, for each batch, the gradient of its summed cross-entropy and its number of examples.

    `keep_graph` makes the gradients differentiable. The yielded dictionary is cleared before the next batch, so that
    only one graph is in memory. Raises `UserError` if there is no batch.
    """
    parameters = {name: weight for name, (weight, _) in prunable(model).items()}
    is_empty = True
    for inputs, labels in batches:
        is_empty = False
        loss = F.cross_entropy(model(inputs) / temperature, labels, reduction="sum")
        parts = torch.autograd.grad(loss, list(parameters.values()), create_graph=keep_graph, allow_unused=True)
        gradients = {
            name: torch.zeros_like(weight) if gradient is None else gradient  # None: the loss does not depend on it
            for (name, weight), gradient in zip(parameters.items(), parts, strict=True)
        }
        del loss, parts
        yield gradients, len(labels)
        gradients.clear()  # frees the graph before the next batch builds another
    if is_empty:
        raise UserError("a pruner that needs training examples got none")


def hessian_times(model: nn.Module, batches: Batches, vector: Gradients, temperature: float = 1.0) -> Gradients:
    """Product of a vector with the Hessian of the mean cross-entropy over all examples.

    Only the graph of one batch is in memory.
    """
    parameters = {name: weight for name, (weight, _) in prunable(model).items()}
    sums = _zeros(model)
    examples = 0
    for gradients, count in batch_gradients(model, batches, temperature, keep_graph=True):
        product = sum((gradients[name] * vector[name]).sum() for name in parameters)
        assert isinstance(product, Tensor)
        if product.requires_grad:  # otherwise the gradient is constant and the Hessian 0
            parts = torch.autograd.grad(product, list(parameters.values()), allow_unused=True)
            for name, part in zip(parameters, parts, strict=True):
                if part is not None:
                    sums[name] += part
        del product
        examples += count
    return {name: total / examples for name, total in sums.items()}


def squared_gradients(model: nn.Module, batches: Batches) -> Gradients:
    """Mean over examples of the squared gradient of the example's cross-entropy.

    Examples must not depend on each other, so batch normalisation uses fixed statistics: the statistics of these
    batches if the model is in training mode, otherwise its running statistics. The model's buffers and mode change;
    pass a copy. Raises `UserError` if there is no batch.
    """
    batches = list(batches) if iter(batches) is batches else batches
    fix_statistics(model, batches)
    weights = {name: weight.detach() for name, (weight, _) in prunable(model).items()}

    def loss(parameters: Gradients, image: Tensor, label: Tensor) -> Tensor:
        return F.cross_entropy(functional_call(model, parameters, (image[None],)), label[None])

    sums, examples = _zeros(model), 0
    for images, labels in batches:
        for part in example_gradients(loss, weights, images, labels):
            for name, gradients in part.items():
                sums[name] += gradients.square().sum(0)
        examples += len(labels)
    if not examples:
        raise UserError("a pruner that needs training examples got none")
    return {name: total / examples for name, total in sums.items()}


def _zeros(model: nn.Module) -> Gradients:
    """Zeros of the shape of each prunable parameter."""
    return {name: torch.zeros_like(weight) for name, (weight, _) in prunable(model).items()}
