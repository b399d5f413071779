"""How does a network become linear and positive, and how do sums over its paths stay in range?"""

import math
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves, tree_map

from Layers.masked import Masked, prunable
from Utils.connectivity.ops.activations import ACTIVATION_FUNCTIONS, ACTIVATIONS
from Utils.errors import UserError

_SKIPPED = (*ACTIVATIONS, nn.Softmax, nn.LogSoftmax)
_SKIPPED_FUNCTIONS = {getattr(function, "__name__", function) for function in ACTIVATION_FUNCTIONS}
_SKIPPED_FUNCTIONS |= {"softmax", "log_softmax"}
_PRODUCTS = ("mul", "mul_", "__mul__", "__rmul__", "__imul__", "multiply")
_GROWING = ("conv2d", "linear", "add", "add_", "__add__", "__radd__", "__iadd__")
_NOT_LINEAR = (nn.LayerNorm, nn.GroupNorm, nn.modules.instancenorm._InstanceNorm, nn.LocalResponseNorm)
"""Normalisations by the input's own statistics, which no positive linear network can stand in for."""

_TINY = torch.finfo(torch.float64).tiny
_FURTHEST = 1000
"""Exponents of two that double precision has both ways."""

_RANGE = 2.0**256
"""Activations beyond this, or below its inverse, are scaled by a power of two, which rounds nothing."""


def linearise(model: nn.Module) -> None:
    """Make a model linear and positive, in place, in float64: |w|, no biases, no activations, own pooling.

    Batch normalisation becomes the factor |scale| / sqrt(variance + eps) of its running variance (1 if it has none).
    Biases and shifts stay, as |b|, where they are prunable: they have to be scored. Masks no longer act by themselves.
    Raises `UserError` for layers that have no such counterpart.
    """
    model.double().eval()
    for name, module in model.named_modules():
        if isinstance(module, _NOT_LINEAR):
            raise UserError(f"synflow cannot make {type(module).__name__} ({name}) linear; use another criterion")
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.forward = partial(_scale_channels, module)
        elif isinstance(module, _SKIPPED):
            module.forward = _unchanged
        if isinstance(module, Masked):
            # Pruned weights are set to zero instead: a product with a mask costs as much as all else, twice.
            module.masked = partial(getattr, module)  # type: ignore[method-assign]
    scored = {id(parameter) for parameter, _ in prunable(model).values()}
    for name, parameter in model.named_parameters():
        is_bias = name.rpartition(".")[2] == "bias"
        parameter.data.zero_() if is_bias and id(parameter) not in scored else parameter.data.abs_()
        if is_bias and id(parameter) in scored:
            parameter._exponent = 0  # type: ignore[attr-defined]  # a source, as the input is


class Linear(TorchFunctionMode):
    """Runs a linearised model: activations that are called as functions give back their input.

    An activation's value is the tensor times 2 to its exponent, so that sums over the paths of a network of any depth
    stay in range. Products of activations are gates: with a gate of value 1, flow does not grow with its square at
    each of them. It splits into two halves there, one through the gate and one through what is gated, so that layers
    before and after have the same sum.
    """

    def __torch_function__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        name = getattr(func, "__name__", None)
        exponents = [leaf._exponent for leaf in tree_leaves((args, kwargs)) if _is_activation(leaf)]
        if not exponents:
            return func(*args, **(kwargs or {}))
        if name in _SKIPPED_FUNCTIONS:
            return args[0]
        if name in _PRODUCTS and all(_is_activation(factor) for factor in args[:2]):
            return _gated(*sorted(args[:2], key=Tensor.numel))
        exponent = max(exponents)
        args, kwargs = tree_map(partial(_aligned, exponent), (args, kwargs))
        result = func(*args, **(kwargs or {}))
        if name in _GROWING:
            result, exponent = _in_range(result, exponent)
        for leaf in tree_leaves(result):
            if isinstance(leaf, Tensor) and leaf.is_floating_point():
                leaf._exponent = exponent  # type: ignore[attr-defined]
        return result


def source(shape: tuple[int, ...], device: torch.device) -> Tensor:
    """An input of ones, float64, of a batch of one."""
    ones = torch.ones(1, *shape, dtype=torch.float64, device=device)
    ones._exponent = 0  # type: ignore[attr-defined]
    return ones


def _is_activation(value: Any) -> bool:
    return isinstance(value, Tensor) and hasattr(value, "_exponent")


def _aligned(exponent: int, value: Any) -> Any:
    """An activation as a multiple of 2 to a given exponent."""
    if not _is_activation(value) or value._exponent == exponent:
        return value
    with torch._C.DisableTorchFunction():
        return value * 2.0 ** (value._exponent - exponent)


def _in_range(value: Tensor, exponent: int) -> tuple[Tensor, int]:
    with torch._C.DisableTorchFunction():
        highest = float(value.detach().amax())
        if 1 / _RANGE <= highest <= _RANGE or highest == 0 or highest != highest or highest == float("inf"):
            return value, exponent
        shift = max(-_FURTHEST, min(_FURTHEST, math.frexp(highest)[1]))
        return value * 2.0**-shift, exponent + shift


def _gated(gate: Any, gated: Any) -> Tensor:
    with torch._C.DisableTorchFunction():
        is_open = gate.detach() > 0  # where nothing flows, all goes through what is gated
        unit = torch.where(is_open, gate / gate.detach().clamp_min(_TINY), 1.0)
        result = torch.where(is_open, _halved(gated) * _halved(unit), gated)
    result._exponent = gated._exponent  # type: ignore[attr-defined]
    return result


def _halved(flow: Tensor) -> Tensor:
    """The same value, with half of the derivative."""
    return (flow + flow.detach()) / 2


def _scale_channels(norm: nn.modules.batchnorm._BatchNorm, input: Tensor) -> Tensor:
    shape = (-1, *[1] * (input.dim() - 2))
    spread = torch.ones(norm.num_features, dtype=torch.float64, device=input.device)
    if norm.running_var is not None:
        spread = norm.running_var
    scale = torch.ones_like(spread) if norm.weight is None else norm.weight
    result = input * (scale / torch.sqrt(spread + norm.eps)).reshape(shape)
    return result + norm.bias.reshape(shape) if _is_activation(norm.bias) else result


def _unchanged(input: Tensor) -> Tensor:
    return input
