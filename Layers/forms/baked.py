"""How does a network train whose masks do not change?

Its pruned entries are zero meanwhile, so the layers use their parameters as they are: what a mask costs is one product
of each gradient, and nothing where all is kept.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from Layers.masked import Masked, prunable


@contextmanager
def baked_masks(model: nn.Module) -> Iterator[Callable[[], None]]:
    """Inside, a network computes the same without multiplying by its masks, which must not change.

    Gives a function that zeroes the gradients of pruned entries; call it before each step of an optimizer. Afterwards
    pruned entries have the values that they had before. Raises `RuntimeError` if a mask was changed after all.
    """
    layers = [module for module in model.modules() if isinstance(module, Masked)]
    pruned = [(weight, mask) for weight, mask in prunable(model).values() if not bool(mask.all())]
    before = [weight.detach().clone() for weight, _ in pruned]
    versions = [_version(mask) for _, mask in pruned]
    # In the weights' own layout of memory, which makes the products four times as fast.
    factors = [torch.zeros_like(weight).masked_fill_(mask, 1) for weight, mask in pruned]
    for weight, mask in pruned:
        weight.detach().masked_fill_(~mask, 0)
    _set_fixed(layers, True)

    def zero_pruned_gradients() -> None:
        found = [
            (weight.grad, factor)
            for (weight, _), factor in zip(pruned, factors, strict=True)
            if weight.grad is not None
        ]
        if found:
            torch._foreach_mul_([gradient for gradient, _ in found], [factor for _, factor in found])

    try:
        yield zero_pruned_gradients
    finally:
        _set_fixed(layers, False)
        for (weight, mask), values in zip(pruned, before, strict=True):
            weight.detach().copy_(torch.where(mask, weight.detach(), values))
    if versions != [_version(mask) for _, mask in pruned]:
        raise RuntimeError("a mask was changed while masks were fixed, so the layer did not use it")


def _set_fixed(layers: list[Masked], is_fixed: bool) -> None:
    for layer in layers:
        layer._is_fixed = is_fixed


def _version(mask: Tensor) -> int:
    return 0 if mask.is_inference() else mask._version
