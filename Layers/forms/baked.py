"""Baked masks: training with fixed masks, without the multiplication in every forward pass.

Pruned entries are set to zero during training, so the layers use their parameters directly. A mask then costs one
product per gradient, and nothing if it keeps all entries.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from Layers.forms.weight_form import WeightForm
from Layers.masked import Masked, prunable


class Baked(WeightForm):
    """Masks that must not change while a network trains; leaving raises `RuntimeError` if one was changed."""

    def enter(self, model: nn.Module) -> None:
        """Set pruned entries to zero, and make the layers use their parameters directly."""
        super().enter(model)
        self.layers = [module for module in model.modules() if isinstance(module, Masked)]
        pairs = {name: pair for name, pair in prunable(model).items() if not bool(pair[1].all())}
        self.pruned = list(pairs.values())
        self.names = list(pairs)
        self.previous = [weight.detach().clone() for weight, _ in self.pruned]
        self.versions = [_version(mask) for _, mask in self.pruned]
        # Same memory layout as the weights, which makes the products four times as fast.
        self.factors = [torch.zeros_like(weight).masked_fill_(mask, 1) for weight, mask in self.pruned]
        for weight, mask in self.pruned:
            weight.detach().masked_fill_(~mask, 0)
        self._set_fixed(True)

    def leave(self) -> None:
        """Give pruned entries their previous values back, and multiply by masks again."""
        self._set_fixed(False)
        for (weight, _), values in zip(self.pruned, self._values(), strict=True):
            weight.detach().copy_(values)
        if self.versions != [_version(mask) for _, mask in self.pruned]:
            raise RuntimeError("a mask was changed while masks were fixed, so the layer did not use it")

    def after_backward(self) -> None:
        """Zero the gradients of pruned entries."""
        pairs = [
            (weight.grad, factor)
            for (weight, _), factor in zip(self.pruned, self.factors, strict=True)
            if weight.grad is not None
        ]
        if pairs:
            torch._foreach_mul_([gradient for gradient, _ in pairs], [factor for _, factor in pairs])

    def state(self) -> dict[str, Tensor]:
        """The state with the previous values of pruned entries."""
        return super().state() | dict(zip(self.names, self._values(), strict=True))

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Restore weights, buffers and masks, and bake the masks again."""
        self.leave()
        super().load(state)
        self.enter(self.model)

    def _values(self) -> list[Tensor]:
        """The weights, with the previous values of pruned entries."""
        return [
            torch.where(mask, weight.detach(), previous)
            for (weight, mask), previous in zip(self.pruned, self.previous, strict=True)
        ]

    def _set_fixed(self, is_fixed: bool) -> None:
        for layer in self.layers:
            layer._is_fixed = is_fixed


def _version(mask: Tensor) -> int:
    return 0 if mask.is_inference() else mask._version
