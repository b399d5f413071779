"""Baked masks: training with fixed masks, without the multiplication in every forward pass.

Pruned entries are set to zero during training, so the layers use their parameters directly. A mask then costs one
product per gradient, and nothing if it keeps all entries.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from Layers.masked import Masked, prunable


@contextmanager
def baked_masks(model: nn.Module) -> Iterator[Callable[[], None]]:
    """Compute the same network without multiplying by its masks, which must not change inside the context.

    Yields a function that zeroes the gradients of pruned entries; call it before each optimizer step. On exit, pruned
    entries get their previous values back. Raises `RuntimeError` if a mask was changed.
    """
    layers = [module for module in model.modules() if isinstance(module, Masked)]
    pruned = [(weight, mask) for weight, mask in prunable(model).values() if not bool(mask.all())]
    before = [weight.detach().clone() for weight, _ in pruned]
    versions = [_version(mask) for _, mask in pruned]
    # Same memory layout as the weights, which makes the products four times as fast.
    factors = [torch.zeros_like(weight).masked_fill_(mask, 1) for weight, mask in pruned]
    for weight, mask in pruned:
        weight.detach().masked_fill_(~mask, 0)
    _set_fixed(layers, True)

    def zero_pruned_gradients() -> None:
        pairs = [
            (weight.grad, factor)
            for (weight, _), factor in zip(pruned, factors, strict=True)
            if weight.grad is not None
        ]
        if pairs:
            torch._foreach_mul_([gradient for gradient, _ in pairs], [factor for _, factor in pairs])

    try:
        yield zero_pruned_gradients
    finally:
        _set_fixed(layers, False)
        for (weight, mask), previous in zip(pruned, before, strict=True):
            weight.detach().copy_(torch.where(mask, weight.detach(), previous))
    if versions != [_version(mask) for _, mask in pruned]:
        raise RuntimeError("a mask was changed while masks were fixed, so the layer did not use it")


def _set_fixed(layers: list[Masked], is_fixed: bool) -> None:
    for layer in layers:
        layer._is_fixed = is_fixed


def _version(mask: Tensor) -> int:
    return 0 if mask.is_inference() else mask._version
