"""How does each kind of operation carry ranks, forward and backward?

A rule takes a `Call` and returns the output's ranks and a pullback, which brings ranks from the operation's output
back to its inputs. To support a further operation: write a rule, name it in `_MODULES` or `_OPERATIONS`.
"""

import math
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from Layers import MaskedConv2d, MaskedIdentity, MaskedLinear
from Utils.errors import UserError
from Utils.maxmin import INFINITE, product
from Utils.windows import adaptive_windows, conv_windows, gather, pool_windows, scatter, tap_positions

Pullback = Callable[[Any], list[Any]]
"""From ranks at an operation's output to ranks at each of its inputs, in the order in which it takes them."""


@dataclass
class Found:
    """Collects what the passes learn about a network's layers."""

    ranks: Mapping[str, Tensor]
    effective: dict[str, Tensor] = field(default_factory=dict)
    positions: dict[str, int] = field(default_factory=dict)

    def add(self, name: str, carried: Tensor) -> None:
        """Note what flows through a ranked parameter; of several uses the best counts."""
        effective = torch.minimum(self.ranks[name], carried.reshape(self.ranks[name].shape))
        self.effective[name] = torch.maximum(self.effective.get(name, effective), effective)

    def complete(self) -> dict[str, Tensor]:
        """Effective ranks of all ranked parameters; what no pass came through has 0."""
        return {name: self.effective.get(name, torch.zeros_like(rank)) for name, rank in self.ranks.items()}


@dataclass
class Call:
    """One operation of the graph, with ranks in place of activations."""

    target: Any
    module: Any
    layer: str
    args: tuple
    kwargs: dict
    inputs: list[Any]
    per_channel: bool
    found: Found
    asks_nonzero: bool
    """Whether this pass asks up to which rank each activation can be other than zero, not what paths carry."""
    nonzero: list[Any] | None
    """For each input of a product, the answer to that."""

    def argument(self, position: int, keyword: str, default: Any = None) -> Any:
        """An argument of a function or method call, or the module's attribute of that name."""
        if self.module is not None:
            return getattr(self.module, keyword, default)
        return self.args[position] if len(self.args) > position else self.kwargs.get(keyword, default)

    def count_places(self, places: int) -> None:
        """Note at how many places this layer's kernel is applied; several calls of a layer add up."""
        if not self.asks_nonzero:
            self.found.positions[self.layer] = self.found.positions.get(self.layer, 0) + places

    def parameter(self, name: str) -> str:
        """The full name of a parameter of this layer."""
        return f"{self.layer}.{name}" if self.layer else name

    def ranks(self, name: str) -> Tensor:
        """The ranks of a parameter of this layer; infinite if it is not prunable."""
        ranks = self.found.ranks.get(self.parameter(name))
        if ranks is not None:
            return ranks
        return torch.full(getattr(self.module, name).shape, INFINITE, dtype=torch.int32, device=self.inputs[0].device)

    def is_ranked(self, name: str) -> bool:
        """Whether a parameter of this layer is prunable."""
        return self.parameter(name) in self.found.ranks

    def apply(self, value: Tensor) -> Any:
        """The operation itself, on another value for its first input."""
        if self.module is not None:
            return self.module(value)
        if isinstance(self.target, str):
            return getattr(value, self.target)(*self.args[1:], **self.kwargs)
        return self.target(value, *self.args[1:], **self.kwargs)


Rule = Callable[[Call], tuple[Any, Pullback]]


def linear(call: Call) -> tuple[Tensor, Pullback]:
    """A dense layer, on the last axis; other axes are positions."""
    (x,) = call.inputs
    weight = call.ranks("weight")
    columns = x.reshape(-1, x.shape[-1]).t()
    call.count_places(columns.shape[1])
    out = product(weight[None], columns[None])[0]

    def pullback(back: Tensor) -> list[Tensor]:
        back = back.reshape(-1, back.shape[-1]).t()
        _find_kernel(call, product(back[None], columns.t()[None]), out, back)
        return [product(weight.t()[None], back[None])[0].t().reshape(x.shape)]

    return out.t().reshape(*x.shape[:-1], -1), pullback


def conv2d(call: Call) -> tuple[Tensor, Pullback]:
    """A convolution, as a product with the patches under its kernel; per channel, a patch is the whole map."""
    (x,) = call.inputs
    conv: nn.Conv2d = call.module
    weight = call.ranks("weight")
    groups, taps = conv.groups, math.prod(conv.kernel_size)
    rows, columns = conv_windows(conv, x.shape[2:])
    places = len(rows) * len(columns)
    call.count_places(places)
    patches, to_input = _whole_maps(x, taps) if call.per_channel else _under_windows(x, rows, columns)
    patches = patches.reshape(groups, -1, patches.shape[2])
    kernels = weight.reshape(groups, weight.shape[0] // groups, -1)
    out = product(kernels, patches)

    def pullback(back: Tensor) -> list[Tensor]:
        back = back[0].flatten(1)
        if call.per_channel:
            back = back.amax(1, keepdim=True)
        back = back.reshape(groups, -1, back.shape[1])
        _find_kernel(call, product(back, patches.transpose(1, 2)), out, back)
        return [to_input(product(kernels.transpose(1, 2), back).reshape(x.shape[1], taps, -1))]

    return out.reshape(1, weight.shape[0], -1).expand(-1, -1, places).unflatten(2, (len(rows), len(columns))), pullback


def _under_windows(x: Tensor, rows: Tensor, columns: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
    """What lies under each tap of each window, (channels, taps, windows), and the way back to the input."""
    positions = tap_positions(rows, columns, x.shape[3]).t().to(x.device)
    flat = x[0].flatten(1)
    return gather(flat, positions), lambda ranks: scatter(ranks, positions, flat.shape[1]).reshape(x.shape)


def _whole_maps(x: Tensor, taps: int) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
    """The same for one window that is each channel's whole map, under every tap."""
    patches = x.flatten(2).amax(2)[0, :, None, None].expand(-1, taps, 1)
    return patches, lambda ranks: ranks.amax(1)[None, :, :, None].expand(x.shape)


def _find_kernel(call: Call, carried: Tensor, out: Tensor, back: Tensor) -> None:
    if call.is_ranked("weight"):
        call.found.add(call.parameter("weight"), carried)
    if call.is_ranked("bias"):
        # A bias starts no path: it is effective as far as its unit is.
        call.found.add(call.parameter("bias"), torch.minimum(out, back).amax(-1))


def channel_scale(call: Call) -> tuple[Tensor, Pullback]:
    """Batch normalisation or a maskable identity: each channel has an edge of its own, open if it is not prunable."""
    (x,) = call.inputs
    if not (call.is_ranked("weight") or call.is_ranked("bias")):
        return pass_through(call)
    scale = call.ranks("weight").reshape(-1, *[1] * (x.dim() - 2))
    out = torch.minimum(x, scale)

    def pullback(back: Tensor) -> list[Tensor]:
        for name, values in (("weight", x), ("bias", out)):
            if call.is_ranked(name):
                carried = torch.minimum(values, back).transpose(0, 1).flatten(1).amax(1)
                call.found.add(call.parameter(name), carried)
        return [torch.minimum(back, scale)]

    return out, pullback


def pass_through(call: Call) -> tuple[Tensor, Pullback]:
    """An operation that changes no connection."""
    return call.inputs[0], lambda back: [back]


def activation(call: Call) -> tuple[Tensor, Pullback]:
    """An elementwise function f: it carries what it gets; where f(0) is not 0, it is never known to be zero."""
    (x,) = call.inputs
    if call.args[0] is not x:
        raise UserError(f"no rule says how the operation {call.target} on exponents connects units")
    if call.asks_nonzero:
        parameter = next(call.module.parameters(), None) if call.module is not None else None
        zeros = torch.zeros(x.shape, dtype=parameter.dtype if parameter is not None else None, device=x.device)
        return torch.where(call.apply(zeros) != 0, INFINITE, x), _unused
    return pass_through(call)


def softmax(call: Call) -> tuple[Tensor, Pullback]:
    """Every output depends on all inputs along the axis, and is never zero."""
    (x,) = call.inputs
    axis = call.argument(1, "dim", -1)
    if call.asks_nonzero:
        return torch.full_like(x, INFINITE), _unused
    return x.amax(axis, keepdim=True).expand(x.shape), lambda back: [back.amax(axis, keepdim=True).expand(x.shape)]


def layer_norm(call: Call) -> tuple[Tensor, Pullback]:
    """Mean and spread are those of all units along the last axes, so every output depends on all of them."""
    x, *constants = call.inputs
    axes = tuple(range(-len(call.argument(1, "normalized_shape")), 0))
    return _joined(x, x, axes, constants)


def group_norm(call: Call) -> tuple[Tensor, Pullback]:
    """The same for the channels of each group."""
    x, *constants = call.inputs
    return _joined(x, x.reshape(1, call.argument(1, "num_groups"), -1), (-1,), constants)


def _joined(x: Tensor, grouped: Tensor, axes: tuple[int, ...], constants: list[Any]) -> tuple[Tensor, Pullback]:
    def join(ranks: Tensor) -> Tensor:
        return ranks.reshape(grouped.shape).amax(axes, keepdim=True).expand(grouped.shape).reshape(x.shape)

    # Scales and shifts start no path.
    return join(x), lambda back: [join(back), *(torch.zeros_like(constant) for constant in constants)]


def add(call: Call) -> tuple[Tensor, Pullback]:
    """A sum or difference carries what any part carries."""
    if len(call.inputs) == 1:
        (x,) = call.inputs
        constants = [value for value in call.args if not isinstance(value, Tensor)]
        if call.asks_nonzero and any(constants):
            return torch.full_like(x, INFINITE), _unused
        return pass_through(call)
    left, right = call.inputs
    return torch.maximum(left, right), lambda back: [_unbroadcast(back, left), _unbroadcast(back, right)]


def multiply(call: Call) -> tuple[Tensor, Pullback]:
    """A product carries each factor's ranks as far as the other factor can be other than zero."""
    if len(call.inputs) == 1:
        (x,) = call.inputs
        if any(value == 0 for value in call.args if not isinstance(value, Tensor)):
            return torch.zeros_like(x), lambda back: [torch.zeros_like(x)]
        return pass_through(call)
    left, right = call.inputs
    if call.asks_nonzero:
        return torch.minimum(left, right), _unused
    assert call.nonzero is not None
    left_open, right_open = call.nonzero
    out = torch.maximum(torch.minimum(left, right_open), torch.minimum(right, left_open))

    def pullback(back: Tensor) -> list[Tensor]:
        to_left, to_right = torch.minimum(back, right_open), torch.minimum(back, left_open)
        return [_unbroadcast(to_left, left), _unbroadcast(to_right, right)]

    return out, pullback


def divide(call: Call) -> tuple[Tensor, Pullback]:
    """Division by a number changes no connection."""
    if len(call.inputs) != 1 or not isinstance(call.args[0], Tensor):
        raise UserError("no rule says how the operation divide, with a tensor as divisor, connects units")
    return pass_through(call)


def concatenate(call: Call) -> tuple[Tensor, Pullback]:
    """Parts side by side."""
    axis = call.argument(1, "dim", 0)
    is_whole = len(call.inputs) == 1 and not isinstance(call.inputs[0], Tensor)
    parts = list(call.inputs[0]) if is_whole else call.inputs
    sizes = [part.shape[axis] for part in parts]

    def pullback(back: Tensor) -> list[Any]:
        backs = list(back.split(sizes, axis))
        return [backs] if is_whole else backs

    return torch.cat(parts, axis), pullback


def part(call: Call) -> tuple[Any, Pullback]:
    """`x[index]`: of a tensor, or one or several of those that an operation returned."""
    whole, index = call.args
    if isinstance(whole, Tensor):
        return move(call)

    chosen = list(range(len(whole)))[index]

    def pullback(back: Any) -> list[Any]:
        backs = dict(zip(chosen, back, strict=True)) if isinstance(chosen, list) else {chosen: back}
        return [[backs.get(place, torch.zeros_like(other)) for place, other in enumerate(whole)]]

    return whole[index], pullback


def move(call: Call) -> tuple[Any, Pullback]:
    """Any operation that only moves entries: it is applied to their numbers, where 0 stands for padding."""
    (x,) = call.inputs
    # float64 because padding takes no integers; it holds every number up to 2^53.
    numbers = torch.arange(1, x.numel() + 1, dtype=torch.float64, device=x.device).reshape(x.shape)
    moved = call.apply(numbers)
    parts = [moved] if isinstance(moved, Tensor) else list(moved)
    sources = [number.long() for number in parts]
    padded = F.pad(x.reshape(-1), (1, 0))
    outputs = [padded[source] for source in sources]

    def pullback(back: Any) -> list[Tensor]:
        backs = [back] if isinstance(moved, Tensor) else back
        origin = torch.cat([source.reshape(-1) for source in sources])
        ranks = torch.cat([value.reshape(-1) for value in backs])
        return [torch.zeros_like(padded).scatter_reduce_(0, origin, ranks, "amax")[1:].reshape(x.shape)]

    return outputs[0] if isinstance(moved, Tensor) else outputs, pullback


def pad(call: Call) -> tuple[Any, Pullback]:
    """Padding with zeros, which are no source, or with copies."""
    if call.argument(3, "value"):
        raise UserError("no rule says how the operation pad, with a value other than zero, connects units")
    return move(call)


def reduce(call: Call) -> tuple[Tensor, Pullback]:
    """A mean, sum or maximum over axes joins what lies along them."""
    (x,) = call.inputs
    axes = call.argument(1, "dim")
    axes = tuple(range(x.dim())) if axes is None else (axes,) if isinstance(axes, int) else tuple(axes)
    kept = x.amax(axes, keepdim=True)
    out = kept if call.argument(2, "keepdim", False) else x.amax(axes)
    return out, lambda back: [back.reshape(kept.shape).expand(x.shape)]


def pool(call: Call) -> tuple[Tensor, Pullback]:
    """Pooling with a fixed window joins each output position to all positions in its window."""
    (x,) = call.inputs
    is_average = call.target is F.avg_pool2d or isinstance(call.module, nn.AvgPool2d)
    if call.argument(6, "return_indices", False) is True:
        raise UserError("no rule says how max pooling with return_indices connects units")
    kernel = _pair(call.argument(1, "kernel_size"))
    stride = _pair(call.argument(2, "stride") or kernel)
    padding = _pair(call.argument(3, "padding", 0))
    dilation = (1, 1) if is_average else _pair(call.argument(4, "dilation", 1))
    ceil_mode = call.argument(4 if is_average else 5, "ceil_mode", False)
    windows = pool_windows(x.shape[2:], kernel, stride, padding, dilation, bool(ceil_mode))
    return _join_windows(x, *windows)


def adaptive_pool(call: Call) -> tuple[Tensor, Pullback]:
    """Pooling to a fixed output size; windows may differ in size and overlap."""
    (x,) = call.inputs
    windows = adaptive_windows(x.shape[2:], _pair(call.argument(1, "output_size")))
    return _join_windows(x, *windows)


def _join_windows(x: Tensor, rows: Tensor, columns: Tensor) -> tuple[Tensor, Pullback]:
    under, to_input = _under_windows(x, rows, columns)
    out = under.amax(1).reshape(1, -1, len(rows), len(columns))
    return out, lambda back: [to_input(back[0].flatten(1)[:, None].expand(under.shape))]


def _unbroadcast(ranks: Tensor, like: Tensor) -> Tensor:
    ranks = ranks.reshape(-1, *ranks.shape[ranks.dim() - like.dim() :]).amax(0)
    repeated = [axis for axis in range(like.dim()) if like.shape[axis] == 1 and ranks.shape[axis] != 1]
    return ranks.amax(repeated, keepdim=True) if repeated else ranks


def _pair(value: Any) -> tuple:
    return (value, value) if value is None or isinstance(value, int) else tuple(value)


def _unused(back: Any) -> list[Any]:
    raise AssertionError("a pass that only asks what can be other than zero has no way back")


def module_rule(module: nn.Module) -> Rule | None:
    """The rule of a module that is handled as a whole, or None."""
    if type(module).forward in (nn.Linear.forward, MaskedLinear.forward):
        return linear
    if type(module).forward in (nn.Conv2d.forward, MaskedConv2d.forward):
        return conv2d
    if isinstance(module, MaskedIdentity | nn.modules.batchnorm._BatchNorm):
        return channel_scale
    return _MODULES.get(type(module))


def operation_rule(target: Any) -> Rule | None:
    """The rule of a function, or of a tensor method by its name, or None."""
    name = f"{getattr(target, '__module__', '')}.{getattr(target, '__name__', '')}"
    return _OPERATIONS.get(target) or _BY_NAME.get(name)


def takes_parts(rule: Rule) -> bool:
    """Whether a rule can take what an operation returned that gives several tensors."""
    return rule in (part, concatenate)


def is_weight_layer(module: nn.Module) -> bool:
    """Whether a module is a (masked or plain) Linear or Conv2d."""
    return module_rule(module) in (linear, conv2d)


def is_sum(node: fx.Node) -> bool:
    """Whether a node adds or subtracts activations."""
    return node.op != "call_module" and operation_rule(node.target) is add


def is_alike(node: fx.Node, module: nn.Module | None) -> bool:
    """Whether each channel of a node depends on the same channel of what it takes, and on no other."""
    rule = module_rule(module) if module is not None else operation_rule(node.target)
    return rule in (activation, pass_through, pool, adaptive_pool, channel_scale)


def is_product(node: fx.Node) -> bool:
    """Whether a node multiplies activations."""
    return node.op != "call_module" and operation_rule(node.target) is multiply


ACTIVATIONS = (
    nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.PReLU, nn.RReLU, nn.ELU, nn.SELU, nn.CELU, nn.GELU, nn.SiLU, nn.Mish, nn.Tanh,
    nn.Sigmoid, nn.LogSigmoid, nn.Hardsigmoid, nn.Hardswish, nn.Hardtanh, nn.Hardshrink, nn.Softshrink, nn.Tanhshrink,
    nn.Softplus, nn.Softsign, nn.Threshold,
)  # fmt: skip
ACTIVATION_FUNCTIONS = (
    F.relu, F.relu_, F.relu6, F.leaky_relu, F.elu, F.selu, F.celu, F.gelu, F.silu, F.mish, F.tanh, F.sigmoid,
    F.logsigmoid, F.hardsigmoid, F.hardswish, F.hardtanh, F.softplus, F.softsign, F.tanhshrink, F.hardshrink,
    F.softshrink, F.threshold, torch.relu, torch.relu_, torch.tanh, torch.sigmoid, "relu", "relu_", "tanh", "sigmoid",
)  # fmt: skip
_ELEMENTWISE_ARITHMETIC = (
    torch.abs, torch.exp, torch.sqrt, torch.square, torch.pow, torch.clamp, operator.pow, "abs", "exp", "sqrt",
    "square", "pow", "clamp",
)  # fmt: skip
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
    **dict.fromkeys((*ACTIVATION_FUNCTIONS, *_ELEMENTWISE_ARITHMETIC), activation),
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
"""Functions of other libraries, which need not be loaded."""
