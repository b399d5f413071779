"""Positive linear network: linearises a model in place and keeps the sums over its paths in floating-point range."""

import math
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves, tree_map

from Layers.masked import Masked
from Utils.connectivity.ops.op import Linearised
from Utils.connectivity.ops.table import called_op, declared_op
from Utils.errors import UserError

_TINY = torch.finfo(torch.float64).tiny
_FURTHEST = 1000
"""Largest shift of an exponent of two, in either direction, that double precision can represent."""

_RANGE = 2.0**256
"""Activations above this bound or below its inverse are rescaled by a power of two, which is exact."""


def linearise(model: nn.Module) -> None:
    """Make a model linear and positive, in place, in float64: weights |w|, biases |b|, no activations, same pooling.

    Batch normalisation becomes the factor |scale| / sqrt(variance + eps), with the running variance (1 if there is
    none), plus |shift|. Masks are no longer applied. The operation table says what becomes of each module. Raises
    `UserError` for a layer without a positive linear counterpart.
    """
    model.double().eval()
    for name, module in model.named_modules():
        linearised = declared_op(module, name).linearised
        if linearised is Linearised.REFUSED:
            raise _not_linear(f"{type(module).__name__} ({name})")
        if linearised is Linearised.SCALE:
            module.forward = partial(_scale_channels, module)  # type: ignore[arg-type]
        elif linearised is Linearised.IDENTITY:
            module.forward = _unchanged
        if isinstance(module, Masked):
            # Pruned weights are set to zero instead: a product with the mask would cost as much as all the rest, in
            # the forward and in the backward pass.
            module.masked = partial(getattr, module)  # type: ignore[method-assign]
    for name, parameter in model.named_parameters():
        parameter.data.abs_()
        # A bias is a source, like the input, with an exponent of its own. Zeros fit any exponent: they have none, so
        # that a flow beyond the range of double precision is not aligned to them.
        if name.rpartition(".")[2] == "bias" and bool(parameter.any()):
            parameter._exponent = 0  # type: ignore[attr-defined]


class Linear(TorchFunctionMode):
    """Context in which to run a linearised model: each function does what the operation table says.

    Activation functions return their input. Functions that the table does not know are executed as they are.
    An activation's value is its tensor times 2 to its exponent, so that sums over paths stay in range at any depth. A
    product of two activations is a gate. The gate gets the value 1, so that the flow is not squared at each product.
    The gradient splits into two halves, one through the gate and one through the gated activation, so that scores sum
    to the same total before and after the gate.
    """

    def __torch_function__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        exponents = [leaf._exponent for leaf in tree_leaves((args, kwargs)) if _is_activation(leaf)]
        if not exponents:
            return func(*args, **(kwargs or {}))
        op = called_op(func)
        if op.linearised is Linearised.IDENTITY:
            return args[0]
        if op.linearised is Linearised.REFUSED:
            raise _not_linear(func.__name__)
        if op.linearised is Linearised.GATE and all(_is_activation(factor) for factor in args[:2]):
            return _gated(*sorted(args[:2], key=Tensor.numel))
        exponent = max(exponents)
        args, kwargs = tree_map(partial(_aligned, exponent), (args, kwargs))
        result = func(*args, **(kwargs or {}))
        if op.grows:
            result, exponent = _in_range(result, exponent)
        for leaf in tree_leaves(result):
            if isinstance(leaf, Tensor) and leaf.is_floating_point():
                leaf._exponent = exponent  # type: ignore[attr-defined]
        return result


def source(shape: tuple[int, ...], device: torch.device) -> Tensor:
    """An input of ones, (1, *shape), in float64."""
    ones = torch.ones(1, *shape, dtype=torch.float64, device=device)
    ones._exponent = 0  # type: ignore[attr-defined]
    return ones


def _not_linear(operation: str) -> UserError:
    return UserError(f"synflow cannot make {operation} linear; use another criterion")


def _is_activation(value: Any) -> bool:
    """Whether a value is a tensor with an exponent."""
    return isinstance(value, Tensor) and hasattr(value, "_exponent")


def _aligned(exponent: int, value: Any) -> Any:
    """An activation rescaled to a given exponent; any other value is returned unchanged."""
    if not _is_activation(value) or value._exponent == exponent:
        return value
    with torch._C.DisableTorchFunction():
        return value * 2.0 ** (value._exponent - exponent)


def _in_range(value: Tensor, exponent: int) -> tuple[Tensor, int]:
    """An equal pair of tensor and exponent with the largest entry in range; zero, inf and nan stay as they are."""
    with torch._C.DisableTorchFunction():
        highest = float(value.detach().amax())
        if 1 / _RANGE <= highest <= _RANGE or highest == 0 or highest != highest or highest == float("inf"):
            return value, exponent
        shift = max(-_FURTHEST, min(_FURTHEST, math.frexp(highest)[1]))
        return value * 2.0**-shift, exponent + shift


def _gated(gate: Any, gated: Any) -> Tensor:
    """The gated activation where the gate is positive, with half of the gradient through each of the two factors."""
    with torch._C.DisableTorchFunction():
        is_open = gate.detach() > 0  # where the gate is 0, all gradient goes through the gated activation
        unit = torch.where(is_open, gate / gate.detach().clamp_min(_TINY), 1.0)
        result = torch.where(is_open, _halved(gated) * _halved(unit), gated)
    result._exponent = gated._exponent  # type: ignore[attr-defined]
    return result


def _halved(flow: Tensor) -> Tensor:
    """The same value with half of the gradient."""
    return (flow + flow.detach()) / 2


def _scale_channels(norm: nn.modules.batchnorm._BatchNorm, input: Tensor) -> Tensor:
    """Forward pass of a linearised batch normalisation: one factor per channel, plus the shift."""
    shape = (-1, *[1] * (input.dim() - 2))
    spread = torch.ones(norm.num_features, dtype=torch.float64, device=input.device)
    if norm.running_var is not None:
        spread = norm.running_var
    scale = torch.ones_like(spread) if norm.weight is None else norm.weight
    result = input * (scale / torch.sqrt(spread + norm.eps)).reshape(shape)
    return result if norm.bias is None else result + norm.bias.reshape(shape)


def _unchanged(input: Tensor) -> Tensor:
    """Forward pass of a linearised activation."""
    return input
