"""Masked layers: standard layers with a mask per parameter, applied in every forward pass.

The forward pass multiplies a pruned entry by zero. Its gradient is therefore zero, and neither weight decay nor
momentum can restore it. The parameter itself keeps its value, because rewinding and regrowth need it.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Masked(nn.Module):
    """Base of masked layers: a parameter can have a bool mask, `True` = kept, in the buffer `<parameter>_mask`.

    A mask may be edited in place; the next forward pass uses the new mask. Edits through `.data` are an exception:
    PyTorch does not count them.
    """

    kinds: ClassVar[dict[str, str]] = {}
    """Kind of each maskable parameter: `kernel`, `bias`, `batchnorm` or `residual`."""
    plain: ClassVar[type[nn.Module]]
    """The equivalent class without masks."""

    _is_fixed: bool = False
    """Whether pruned entries of the parameters are already zero: see `Layers/forms/baked.py`."""
    _products: Mapping[str, Callable[[], Tensor]] = MappingProxyType({})
    """Functions that multiply parameters by their masks in a way of their own: see `Layers/forms/supermask.py`."""

    def _prepare_masks(self) -> None:
        self._float_masks: dict[str, tuple[Tensor, int, Tensor]] = {}
        for name, kind in self.kinds.items():
            self.register_buffer(f"{name}_mask", None)
            if kind == "kernel":
                self.add_mask(name)

    def add_mask(self, name: str) -> None:
        """Give the parameter `name` a mask that keeps all entries, unless it already has a mask."""
        parameter = getattr(self, name)
        if parameter is not None and getattr(self, f"{name}_mask") is None:
            setattr(self, f"{name}_mask", torch.ones_like(parameter, dtype=torch.bool))

    def masked(self, name: str) -> Tensor:
        """The parameter as used in the forward pass, with zeros in place of pruned entries."""
        parameter, mask = getattr(self, name), getattr(self, f"{name}_mask")
        if mask is None or self._is_fixed:
            return parameter
        if name in self._products:
            return self._products[name]()
        return parameter * self._float_mask(name, parameter.dtype, mask)

    def _float_mask(self, name: str, dtype: torch.dtype, mask: Tensor) -> Tensor:
        # A product with a bool mask converts the mask in each pass, forward and backward, at twice the product's cost.
        # Inference tensors have no version counter, and a trace would hold the cached tensor as a constant.
        if mask.is_inference() or torch.jit.is_tracing():
            return mask.to(dtype)
        source, version, converted = self._float_masks.get(name, (None, 0, mask))
        if source is not mask or version != mask._version or converted.dtype != dtype:
            with torch.inference_mode(False):
                converted = mask.to(dtype)
            self._float_masks[name] = (mask, mask._version, converted)
        return converted

    def __getstate__(self) -> dict:
        return {**self.__dict__, "_float_masks": {}, "_is_fixed": False, "_products": {}}


class MaskedLinear(Masked, nn.Linear):
    """`nn.Linear` with a masked weight and, after `add_mask("bias")`, a masked bias."""

    plain = nn.Linear
    kinds = {"weight": "kernel", "bias": "bias"}

    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self._prepare_masks()

    def forward(self, input: Tensor) -> Tensor:
        return F.linear(input, self.masked("weight"), self.masked("bias"))


class MaskedConv2d(Masked, nn.Conv2d):
    """`nn.Conv2d` with a masked weight and, after `add_mask("bias")`, a masked bias; it takes the same arguments."""

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
        average_factor = self.momentum
        if self.training and self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
            if average_factor is None:
                average_factor = 1.0 / float(self.num_batches_tracked)
        use_batch_statistics = self.training or self.running_mean is None
        mean, variance = self.running_mean, self.running_var
        scale, shift = self.masked("weight"), self.masked("bias")
        return F.batch_norm(input, mean, variance, scale, shift, use_batch_statistics, average_factor or 0.0, self.eps)


class MaskedBatchNorm1d(_MaskedBatchNorm, nn.BatchNorm1d):
    """`nn.BatchNorm1d` with maskable scale and shift."""

    plain = nn.BatchNorm1d


class MaskedBatchNorm2d(_MaskedBatchNorm, nn.BatchNorm2d):
    """`nn.BatchNorm2d` with maskable scale and shift."""

    plain = nn.BatchNorm2d


class MaskedIdentity(Masked):
    """A skip connection with prunable channels: its weight, one per channel, is fixed to 1 and never trained."""

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
    """All masked parameters of a model by name, such as `"fc1.weight"`, as pairs (parameter, mask).

    The order follows the modules of the model, and decides ties between scores. Both tensors belong to the model:
    changing the mask in place changes the model.
    """
    return {
        f"{prefix}.{name}" if prefix else name: (getattr(module, name), getattr(module, f"{name}_mask"))
        for prefix, module in model.named_modules()
        if isinstance(module, Masked)
        for name in module.kinds
        if getattr(module, f"{name}_mask") is not None
    }


def require_prunable(model: nn.Module) -> dict[str, tuple[Tensor, Tensor]]:
    """`prunable(model)`; raises `ValueError`, which names the remedy, if the model has no masked parameter."""
    parameters = prunable(model)
    if not parameters:
        raise ValueError(f"{type(model).__name__} has no prunable parameters; give its layers masks: mask_model(model)")
    return parameters


def state_without_masks(model: nn.Module) -> dict[str, Tensor]:
    """Weights and buffers of a model by name, as in its state dict, but without the masks of masked layers."""
    masks = {
        f"{prefix}.{name}_mask" if prefix else f"{name}_mask"
        for prefix, module in model.named_modules()
        if isinstance(module, Masked)
        for name in module.kinds
    }
    return {name: value for name, value in model.state_dict().items() if name not in masks}
