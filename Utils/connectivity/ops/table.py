"""Operation table: the one entry that says what each module, function and tensor method means.

Connectivity (`flow`, `nonzero`), SynFlow (`linearised`, `grows`), unit pruning (`units`) and the channel graph of the
statistics (`vertices`) ask the entry, an instance of a subclass of `Op`. To support another operation, write such a
class, or find one that fits, and add a line to `OPERATIONS`. Only `flow` has no default.
"""

import operator
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from Layers import MaskedConv2d, MaskedIdentity, MaskedLinear
from Layers.inheritance import differing_method
from Layers.masked import MaskedBatchNorm1d, MaskedBatchNorm2d
from Utils.connectivity.ops.elementwise import (
    Activation,
    Arithmetic,
    Difference,
    Division,
    PassThrough,
    Product,
    Sum,
)  # fmt: skip
from Utils.connectivity.ops.normalisation import GroupNorm, LayerNorm, Softmax, StatisticsNorm
from Utils.connectivity.ops.op import Op, UnknownOp
from Utils.connectivity.ops.pooling import AdaptivePool, AveragePool, MaxPool, Reduction
from Utils.connectivity.ops.shapes import Concatenation, Move, Padding, Part
from Utils.connectivity.ops.weight_layers import BatchNorm, ChannelScale, Convolution, LinearLayer, WeightFunction
from Utils.errors import UserError

OPERATIONS: dict[Any, Op] = {
    **dict.fromkeys((nn.Linear, MaskedLinear), LinearLayer()),
    **dict.fromkeys((nn.Conv2d, MaskedConv2d), Convolution()),
    **dict.fromkeys((F.linear, F.conv2d), WeightFunction()),
    MaskedIdentity: ChannelScale(),
    **dict.fromkeys((nn.modules.batchnorm._BatchNorm, nn.SyncBatchNorm), BatchNorm()),
    **dict.fromkeys((MaskedBatchNorm1d, MaskedBatchNorm2d), BatchNorm()),
    **dict.fromkeys((
        nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.PReLU, nn.RReLU, nn.ELU, nn.SELU, nn.CELU, nn.GELU, nn.SiLU, nn.Mish,
        nn.Tanh, nn.Sigmoid, nn.LogSigmoid, nn.Hardsigmoid, nn.Hardswish, nn.Hardtanh, nn.Hardshrink, nn.Softshrink,
        nn.Tanhshrink, nn.Softplus, nn.Softsign, nn.Threshold,
        F.relu, F.relu_, F.relu6, F.leaky_relu, F.elu, F.selu, F.celu, F.gelu, F.silu, F.mish, F.tanh, F.sigmoid,
        F.logsigmoid, F.hardsigmoid, F.hardswish, F.hardtanh, F.softplus, F.softsign, F.tanhshrink, F.hardshrink,
        F.softshrink, F.threshold, torch.relu, torch.relu_, torch.tanh, torch.sigmoid,
        "relu", "relu_", "tanh", "sigmoid",
    ), Activation()),
    **dict.fromkeys((
        torch.abs, torch.exp, torch.sqrt, torch.square, torch.pow, torch.clamp, operator.pow,
        "abs", "exp", "sqrt", "square", "pow", "clamp",
    ), Arithmetic()),
    **dict.fromkeys((
        nn.Identity, nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.AlphaDropout, F.dropout, F.dropout2d,
        # A function of another library by name, so that the library is not imported.
        "torchvision.ops.stochastic_depth.stochastic_depth",
        operator.neg, torch.neg, "neg", "contiguous", "clone", "detach", "float", "double", "to", "data",
    ), PassThrough()),
    **dict.fromkeys((operator.add, operator.iadd, torch.add, "add", "add_"), Sum()),
    **dict.fromkeys((operator.sub, operator.isub, torch.sub, "sub", "sub_"), Difference()),
    **dict.fromkeys((operator.mul, operator.imul, torch.mul, torch.multiply, "mul", "mul_", "multiply"), Product()),
    **dict.fromkeys((operator.truediv, torch.div, "div"), Division()),
    **dict.fromkeys((
        nn.Softmax, nn.LogSoftmax, F.softmax, F.log_softmax, torch.softmax, torch.log_softmax, "softmax", "log_softmax",
    ), Softmax()),
    **dict.fromkeys((nn.LayerNorm, F.layer_norm), LayerNorm()),
    **dict.fromkeys((nn.GroupNorm, F.group_norm), GroupNorm()),
    **dict.fromkeys((
        nn.modules.instancenorm._InstanceNorm, nn.LocalResponseNorm, F.instance_norm, F.local_response_norm,
    ), StatisticsNorm()),
    **dict.fromkeys((torch.mean, torch.sum, torch.amax, "mean", "sum", "amax"), Reduction()),
    **dict.fromkeys((nn.MaxPool2d, F.max_pool2d, torch.max_pool2d), MaxPool()),
    **dict.fromkeys((nn.AvgPool2d, F.avg_pool2d), AveragePool()),
    **dict.fromkeys((
        nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d, F.adaptive_avg_pool2d, F.adaptive_max_pool2d,
    ), AdaptivePool()),
    **dict.fromkeys((torch.cat, torch.concat), Concatenation()),
    **dict.fromkeys((
        nn.Flatten, nn.Unflatten, nn.ChannelShuffle, nn.PixelShuffle, nn.PixelUnshuffle, nn.ZeroPad2d,
        nn.ReflectionPad2d, nn.ReplicationPad2d, nn.CircularPad2d,
        torch.flatten, torch.reshape, torch.permute, torch.transpose, torch.squeeze, torch.unsqueeze, torch.chunk,
        torch.split, torch.unbind, torch.flip, torch.roll, F.pixel_shuffle, F.pixel_unshuffle, F.channel_shuffle,
        "flatten", "unflatten", "view", "reshape", "permute", "transpose", "squeeze", "unsqueeze", "expand", "repeat",
        "chunk", "split", "unbind", "flip", "roll", "t", "T", "mT", "narrow", "select",
    ), Move()),
    F.pad: Padding(),
    operator.getitem: Part(),
}  # fmt: skip
"""Modules by class, functions, and methods and attributes of tensors by name."""

UNKNOWN = UnknownOp()

_OPERATORS = {
    f"__{prefix}{name}__": name for prefix in ("", "r", "i") for name in ("add", "sub", "mul", "truediv", "pow")
}
"""Methods of tensors that Python calls for operators, also reflected and in place."""


def declared_op(module: nn.Module, name: str = "") -> Op:
    """The entry of the first class in a module's order of inheritance that has one; `UNKNOWN` if there is none.

    Raises `UserError` for a layer with parameters whose class has a forward method that differs from that class's.
    """
    kind = _declared_kind(module)
    op = UNKNOWN if kind is None else OPERATIONS[kind]
    if op.needs_same_forward and kind is not None:
        method = differing_method(type(module), kind)
        if method is not None:
            label = f"{type(module).__name__} ({name})" if name else type(module).__name__
            raise UserError(
                f"no rule says how {label}, whose {method} differs from that of {kind.__name__}, connects units"
            )
    return op


def module_op(module: nn.Module, name: str = "") -> Op | None:
    """The entry that says what a module's forward method does; None if torch.fx can trace into the module instead.

    Raises `UserError` as `declared_op` does.
    """
    op, kind = declared_op(module, name), _declared_kind(module)
    return op if kind is not None and differing_method(type(module), kind) is None else None


def target_op(target: Any) -> Op:
    """The entry of a function, or of a tensor method or attribute by name; `UNKNOWN` if it has none."""
    qualified = f"{getattr(target, '__module__', '')}.{getattr(target, '__name__', '')}"
    return OPERATIONS.get(target) or OPERATIONS.get(qualified) or UNKNOWN


@lru_cache(maxsize=1024)
def called_op(function: Callable) -> Op:
    """The entry of a function that PyTorch calls, by the function itself or else by its name.

    PyTorch has several functions of one name, such as `torch.relu` and `torch.Tensor.relu`.
    """
    op = target_op(function)
    if op is not UNKNOWN:
        return op
    name = getattr(function, "__name__", "")
    return _by_name().get(_OPERATORS.get(name, name), UNKNOWN)


@lru_cache(maxsize=1)
def _by_name() -> dict[str, Op]:
    return {getattr(key, "__name__", key): op for key, op in OPERATIONS.items() if not isinstance(key, type)}


def _declared_kind(module: nn.Module) -> type[nn.Module] | None:
    return next((kind for kind in type(module).__mro__ if kind in OPERATIONS), None)
