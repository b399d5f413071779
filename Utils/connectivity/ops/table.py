"""Operation table: the rule by which each operation carries ranks, forward and backward.

A rule takes a `Call` and returns the ranks of the output and a pullback, which maps ranks at the operation's output to
ranks at its inputs. To support another operation, write a rule and add it to `_MODULES` or `_OPERATIONS`.
"""

import operator
from typing import Any

import torch
import torch.nn.functional as F
from torch import fx, nn

from Layers import MaskedConv2d, MaskedIdentity, MaskedLinear
from Utils.connectivity.ops.activations import ACTIVATION_FUNCTIONS, ACTIVATIONS, ELEMENTWISE_ARITHMETIC
from Utils.connectivity.ops.call import Rule
from Utils.connectivity.ops.elementwise import activation, add, divide, multiply, pass_through
from Utils.connectivity.ops.normalisation import group_norm, layer_norm, softmax
from Utils.connectivity.ops.pooling import adaptive_pool, pool, reduce
from Utils.connectivity.ops.shapes import concatenate, move, pad, part
from Utils.connectivity.ops.weight_layers import channel_scale, conv2d, linear


def module_rule(module: nn.Module) -> Rule | None:
    """The rule of a module; None if it has none, and is traced into."""
    if type(module).forward in (nn.Linear.forward, MaskedLinear.forward):
        return linear
    if type(module).forward in (nn.Conv2d.forward, MaskedConv2d.forward):
        return conv2d
    if isinstance(module, MaskedIdentity | nn.modules.batchnorm._BatchNorm):
        return channel_scale
    return _MODULES.get(type(module))


def operation_rule(target: Any) -> Rule | None:
    """The rule of a function, or of a tensor method by name; None if it has none."""
    name = f"{getattr(target, '__module__', '')}.{getattr(target, '__name__', '')}"
    return _OPERATIONS.get(target) or _BY_NAME.get(name)


def takes_parts(rule: Rule) -> bool:
    """Whether a rule accepts an operation's sequence of tensors as one input."""
    return rule in (part, concatenate)


def is_weight_layer(module: nn.Module) -> bool:
    """Whether a module is a (masked or plain) Linear or Conv2d."""
    return module_rule(module) in (linear, conv2d)


def is_sum(node: fx.Node) -> bool:
    """Whether a node adds or subtracts activations."""
    return node.op != "call_module" and operation_rule(node.target) is add


def is_alike(node: fx.Node, module: nn.Module | None) -> bool:
    """Whether each channel of a node depends only on the same channel of its inputs."""
    rule = module_rule(module) if module is not None else operation_rule(node.target)
    return rule in (activation, pass_through, pool, adaptive_pool, channel_scale)


def is_product(node: fx.Node) -> bool:
    """Whether a node multiplies activations."""
    return node.op != "call_module" and operation_rule(node.target) is multiply


_MODULES: dict[type, Rule] = {
    **dict.fromkeys(ACTIVATIONS, activation),
    **dict.fromkeys((nn.Softmax, nn.LogSoftmax), softmax),
    nn.LayerNorm: layer_norm,
    nn.GroupNorm: group_norm,
    **dict.fromkeys((nn.Identity, nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.AlphaDropout), pass_through),
    **dict.fromkeys((nn.MaxPool2d, nn.AvgPool2d), pool),
    **dict.fromkeys((nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d), adaptive_pool),
    **dict.fromkeys((nn.Flatten, nn.Unflatten, nn.ChannelShuffle, nn.PixelShuffle, nn.PixelUnshuffle), move),
    **dict.fromkeys((nn.ZeroPad2d, nn.ReflectionPad2d, nn.ReplicationPad2d, nn.CircularPad2d), move),
}


_OPERATIONS: dict[Any, Rule] = {
    **dict.fromkeys((*ACTIVATION_FUNCTIONS, *ELEMENTWISE_ARITHMETIC), activation),
    **dict.fromkeys((F.softmax, F.log_softmax, torch.softmax, torch.log_softmax, "softmax", "log_softmax"), softmax),
    F.layer_norm: layer_norm,
    F.group_norm: group_norm,
    **dict.fromkeys((F.dropout, F.dropout2d, operator.neg, torch.neg, "neg"), pass_through),
    **dict.fromkeys(("contiguous", "clone", "detach", "float", "double", "to", "data"), pass_through),
    **dict.fromkeys((operator.add, operator.iadd, torch.add, "add", "add_"), add),
    **dict.fromkeys((operator.sub, operator.isub, torch.sub, "sub", "sub_"), add),
    **dict.fromkeys((operator.mul, operator.imul, torch.mul, torch.multiply, "mul", "mul_", "multiply"), multiply),
    **dict.fromkeys((operator.truediv, torch.div, "div"), divide),
    **dict.fromkeys((torch.cat, torch.concat), concatenate),
    **dict.fromkeys((torch.mean, torch.sum, torch.amax, "mean", "sum", "amax"), reduce),
    **dict.fromkeys((F.max_pool2d, F.avg_pool2d, torch.max_pool2d), pool),
    **dict.fromkeys((F.adaptive_avg_pool2d, F.adaptive_max_pool2d), adaptive_pool),
    **dict.fromkeys((torch.flatten, torch.reshape, torch.permute, torch.transpose, torch.squeeze), move),
    **dict.fromkeys((torch.unsqueeze, torch.chunk, torch.split, torch.unbind, torch.flip, torch.roll), move),
    **dict.fromkeys(("flatten", "unflatten", "view", "reshape", "permute", "transpose", "squeeze", "unsqueeze"), move),
    **dict.fromkeys(("expand", "repeat", "chunk", "split", "unbind", "flip", "roll"), move),
    **dict.fromkeys((F.pixel_shuffle, F.pixel_unshuffle, F.channel_shuffle, "t", "T", "mT", "narrow", "select"), move),
    F.pad: pad,
    operator.getitem: part,
}


_BY_NAME: dict[str, Rule] = {"torchvision.ops.stochastic_depth.stochastic_depth": pass_through}
"""Functions of other libraries by name, so that these libraries are not imported."""
