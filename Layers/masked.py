"""Which layers have masks, and how does a mask act?

A pruned entry is multiplied by zero in the forward pass, so neither weight decay nor momentum can bring it back, and
its gradient is zero. The parameter itself keeps its value: rewinding and regrowing need it.
"""

from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Masked(nn.Module):
    """A layer some of whose parameters have a bool mask, `True` = kept, in the buffer `<parameter>_mask`.

    A mask may be edited in place; the layer notices. (Edits through `.data` are hidden from PyTorch, and from us.)
    """

    kinds: ClassVar[dict[str, str]] = {}
    """Each parameter that can have a mask, and its kind: `kernel`, `bias`, `batchnorm` or `residual`."""
    plain: ClassVar[type[nn.Module]]
    """The layer that this one is without masks."""

    _is_fixed: bool = False
    """Whether pruned entries are zero anyway: see `Layers/forms/baked.py`."""

    def _prepare_masks(self) -> None:
        self._float_masks: dict[str, tuple[Tensor, int, Tensor]] = {}
        for name, kind in self.kinds.items():
            self.register_buffer(f"{name}_mask", None)
            if kind == "kernel":
                self.add_mask(name)

    def add_mask(self, name: str) -> None:
        """Give the parameter `name` a mask, all kept, unless it has one already."""
        parameter = getattr(self, name)
        if parameter is not None and getattr(self, f"{name}_mask") is None:
            setattr(self, f"{name}_mask", torch.ones_like(parameter, dtype=torch.bool))

    def masked(self, name: str) -> Tensor:
        """The parameter as the forward pass uses it, with zeros where it is pruned."""
        parameter, mask = getattr(self, name), getattr(self, f"{name}_mask")
        if mask is None or self._is_fixed:
            return parameter
        return parameter * self._float_mask(name, parameter.dtype, mask)

    def _float_mask(self, name: str, dtype: torch.dtype, mask: Tensor) -> Tensor:
        # Multiplying by a bool mask converts it each time, forward and backward, which costs twice the product.
        if mask.is_inference():  # such a tensor does not count its changes
            return mask.to(dtype)
        source, version, converted = self._float_masks.get(name, (None, 0, mask))
        if source is not mask or version != mask._version or converted.dtype != dtype:
            with torch.inference_mode(False):
                converted = mask.to(dtype)
            self._float_masks[name] = (mask, mask._version, converted)
        return converted

    def __getstate__(self) -> dict:
        return {**self.__dict__, "_float_masks": {}, "_is_fixed": False}


class MaskedLinear(Masked, nn.Linear):
    """`nn.Linear` whose weight (and, if asked, bias) is masked."""

    plain = nn.Linear
    kinds = {"weight": "kernel", "bias": "bias"}

    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self._prepare_masks()

    def forward(self, input: Tensor) -> Tensor:
        return F.linear(input, self.masked("weight"), self.masked("bias"))


class MaskedConv2d(Masked, nn.Conv2d):
    """`nn.Conv2d` whose weight (and, if asked, bias) is masked; groups, strides, dilation and padding as there."""

    plain = nn.Conv2d
    kinds = {"weight": "kernel", "bias": "bias"}

    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self._prepare_masks()

    def forward(self, input: Tensor) -> Tensor:
        return self._conv_forward(input, self.masked("weight"), self.masked("bias"))


class _MaskedBatchNorm(Masked, nn.modules.batchnorm._BatchNorm):
    kinds = {"weight": "batchnorm", "bias": "batchnorm"}

    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self._prepare_masks()

    def forward(self, input: Tensor) -> Tensor:
        self._check_input_dim(input)
        average = self.momentum
        if self.training and self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
            if average is None:
                average = 1.0 / float(self.num_batches_tracked)
        use_batch = self.training or self.running_mean is None
        mean, variance = self.running_mean, self.running_var
        scale, shift = self.masked("weight"), self.masked("bias")
        return F.batch_norm(input, mean, variance, scale, shift, use_batch, average or 0.0, self.eps)


class MaskedBatchNorm1d(_MaskedBatchNorm, nn.BatchNorm1d):
    """`nn.BatchNorm1d` whose scale and shift can be masked."""

    plain = nn.BatchNorm1d


class MaskedBatchNorm2d(_MaskedBatchNorm, nn.BatchNorm2d):
    """`nn.BatchNorm2d` whose scale and shift can be masked."""

    plain = nn.BatchNorm2d


class MaskedIdentity(Masked):
    """A skip connection that can be pruned channel by channel: a fixed weight of ones, never trained."""

    plain = nn.Identity
    kinds = {"weight": "residual"}

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("weight", torch.ones(channels))
        self._prepare_masks()

    def forward(self, input: Tensor) -> Tensor:
        if self.weight_mask is None:
            return input
        return input * self.masked("weight").reshape(-1, *[1] * (input.dim() - 2))


def prunable(model: nn.Module) -> dict[str, tuple[Tensor, Tensor]]:
    """Every parameter of a model that has a mask, by its name (`"fc1.weight"`), as (parameter, mask).

    The order is that of the modules in the model; it is the order in which ties are broken. Both tensors are the
    model's own: changing the mask in place changes the model.
    """
    return {
        f"{prefix}.{name}" if prefix else name: (getattr(module, name), getattr(module, f"{name}_mask"))
        for prefix, module in model.named_modules()
        if isinstance(module, Masked)
        for name in module.kinds
        if getattr(module, f"{name}_mask") is not None
    }
