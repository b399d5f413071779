"""A small example of each entry of the operation table, by its module class, function or name of a method."""

import copy
import math
import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor, nn

from Layers import MaskedBatchNorm1d, MaskedBatchNorm2d, MaskedConv2d, MaskedIdentity, MaskedLinear
from Utils.connectivity.ops.op import Op
from Utils.connectivity.ops.table import OPERATIONS

Function = Callable[..., Tensor]


@dataclass(frozen=True)
class Example:
    """A use of an operation on activations of one shape, without the batch axis."""

    operation: Function
    """A function, or a module."""
    shape: tuple[int, ...] = (4, 2, 3)
    inputs: int = 1
    is_linear: bool = True
    """Whether SynFlow's scores are conserved; it runs these functions as they are, linear or not."""


class Functional(nn.Module):
    """A function that gets a parameter of the network."""

    def __init__(self, function: Function, *size: int) -> None:
        super().__init__()
        self.function, self.weight = function, nn.Parameter(torch.rand(size) + 0.5)

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x, self.weight)


def masked(layer: Any, *names: str) -> Any:
    """A masked layer with masks of further parameters."""
    for name in names:
        layer.add_mask(name)
    return layer


def methods(names: str, *arguments: Any, is_linear: bool = True) -> dict[str, Example]:
    """Tensor methods of one activation, with the same arguments."""
    return {
        name: Example(lambda x, name=name: getattr(x, name)(*arguments), is_linear=is_linear) for name in names.split()
    }


def functions(room: Any, names: str, *arguments: Any, is_linear: bool = True) -> dict[Any, Example]:
    """Functions of one activation, with the same arguments."""
    found = [getattr(room, name) for name in names.split()]
    return {
        function: Example(lambda x, function=function: function(x, *arguments), is_linear=is_linear)
        for function in found
    }


def modules(names: str, *arguments: Any) -> dict[Any, Example]:
    """Modules of PyTorch with the same arguments."""
    return {getattr(nn, name): Example(getattr(nn, name)(*arguments)) for name in names.split()}


ACTIVATIONS = (
    "ReLU ReLU6 LeakyReLU PReLU RReLU ELU SELU CELU GELU SiLU Mish Tanh Sigmoid LogSigmoid Hardsigmoid Hardswish "
    "Hardtanh Hardshrink Softshrink Tanhshrink Softplus Softsign"
)
ACTIVATION_FUNCTIONS = (
    "relu relu_ relu6 leaky_relu elu selu celu gelu silu mish logsigmoid hardsigmoid hardswish hardtanh "
    "softplus softsign tanhshrink hardshrink softshrink"
)

LAYERS: dict[Any, Example] = {
    nn.Linear: Example(nn.Linear(3, 2)),
    MaskedLinear: Example(MaskedLinear(3, 2)),
    nn.Conv2d: Example(nn.Conv2d(4, 2, 2, groups=2, padding=1, padding_mode="circular")),
    MaskedConv2d: Example(MaskedConv2d(4, 2, 3, stride=2, dilation=1, padding=1)),
    F.linear: Example(Functional(F.linear, 2, 3)),
    F.conv2d: Example(Functional(F.conv2d, 2, 4, 2, 2)),
    MaskedIdentity: Example(masked(MaskedIdentity(4), "weight")),
    nn.modules.batchnorm._BatchNorm: Example(nn.BatchNorm2d(4)),
    nn.SyncBatchNorm: Example(nn.SyncBatchNorm(4)),
    MaskedBatchNorm1d: Example(masked(MaskedBatchNorm1d(5), "weight"), (5,)),
    MaskedBatchNorm2d: Example(masked(MaskedBatchNorm2d(4), "weight")),
}

ELEMENTWISE: dict[Any, Example] = {
    **modules(ACTIVATIONS), **functions(F, ACTIVATION_FUNCTIONS), **functions(torch, "relu relu_ tanh sigmoid"),
    **methods("relu relu_ tanh sigmoid"), nn.Threshold: Example(nn.Threshold(0.1, 2.0)),
    **functions(F, "threshold", 0.1, 2.0),
    **functions(torch, "abs"), **methods("abs"), **functions(torch, "clamp", 0), **methods("clamp", 0),
    **functions(torch, "exp sqrt square", is_linear=False), **methods("exp sqrt square", is_linear=False),
    **functions(torch, "pow", 2, is_linear=False), **functions(operator, "pow", 2, is_linear=False),
    **methods("pow", 2, is_linear=False),
    **modules("Identity Dropout Dropout2d AlphaDropout"), nn.Dropout1d: Example(nn.Dropout1d(), (5,)),
    **functions(F, "dropout dropout2d", 0.5, False),
    "torchvision.ops.stochastic_depth.stochastic_depth": Example(torchvision.ops.StochasticDepth(0.5, "row")),
    **functions(operator, "neg"), **functions(torch, "neg"), **methods("neg contiguous clone"),
    **methods("detach", is_linear=False), "data": Example(lambda x: x.data, is_linear=False),
    "float": Example(lambda x: x.float().double()), "double": Example(lambda x: x.double()),
    "to": Example(lambda x: x.to("cpu")),
}  # fmt: skip

TWO: dict[Any, Example] = {
    **{function: Example(function, inputs=2) for function in (
        operator.add, torch.add, operator.sub, torch.sub, operator.mul, torch.mul, torch.multiply,
    )},
    **{name: Example(lambda x, y, name=name: getattr(x, name)(y), inputs=2) for name in (
        "add", "add_", "sub", "sub_", "mul", "mul_", "multiply",
    )},
    **{function: Example(lambda x, y, function=function: function([x, y], 1), inputs=2) for function in (
        torch.cat, torch.concat,
    )},
}  # fmt: skip

OTHERS: dict[Any, Example] = {
    **functions(operator, "truediv", 2), **functions(torch, "div", 2), **methods("div", 2),
    **modules("Softmax LogSoftmax", 1), **functions(F, "softmax log_softmax", 1),
    **functions(torch, "softmax log_softmax", 1), **methods("softmax log_softmax", 1),
    nn.LayerNorm: Example(nn.LayerNorm((2, 3))), F.layer_norm: Example(lambda x: F.layer_norm(x, (3,))),
    nn.GroupNorm: Example(nn.GroupNorm(2, 4)), F.group_norm: Example(lambda x: F.group_norm(x, 2)),
    nn.modules.instancenorm._InstanceNorm: Example(nn.InstanceNorm2d(4)), **functions(F, "instance_norm"),
    nn.LocalResponseNorm: Example(nn.LocalResponseNorm(2)), **functions(F, "local_response_norm", 2),
    **functions(torch, "mean sum amax", (2, 3), True), **methods("mean sum amax", 1),
    nn.MaxPool2d: Example(nn.MaxPool2d(2, stride=1, padding=1), (2, 3, 3)),
    F.max_pool2d: Example(lambda x: F.max_pool2d(x, 2, ceil_mode=True), (2, 3, 5)),
    torch.max_pool2d: Example(lambda x: torch.max_pool2d(x, 2, 1, 0, (1, 2)), (2, 3, 4)),
    nn.AvgPool2d: Example(nn.AvgPool2d(2, padding=1, ceil_mode=True), (2, 4, 3)),
    F.avg_pool2d: Example(lambda x: F.avg_pool2d(x, (2, 1), 2)),
    nn.AdaptiveAvgPool2d: Example(nn.AdaptiveAvgPool2d((2, 2)), (2, 3, 5)),
    nn.AdaptiveMaxPool2d: Example(nn.AdaptiveMaxPool2d((None, 1))),
    **functions(F, "adaptive_avg_pool2d adaptive_max_pool2d", (1, 2)),
}  # fmt: skip

MOVES: dict[Any, Example] = {
    **modules("Flatten"), nn.Unflatten: Example(nn.Unflatten(1, (2, 2))),
    **modules("ChannelShuffle", 2), nn.PixelShuffle: Example(nn.PixelShuffle(2)),
    nn.PixelUnshuffle: Example(nn.PixelUnshuffle(2), (2, 2, 4)),
    **modules("ZeroPad2d ReflectionPad2d ReplicationPad2d CircularPad2d", (1, 0, 1, 1)),
    **functions(torch, "flatten squeeze", 1), **functions(torch, "unsqueeze", 2), **functions(torch, "transpose", 1, 3),
    **functions(torch, "reshape", (1, 3, 8)), **functions(torch, "permute", (0, 2, 3, 1)),
    **functions(torch, "flip", (2,)), **functions(torch, "roll", 1, 1),
    **functions(F, "channel_shuffle pixel_shuffle", 2),
    F.pixel_unshuffle: Example(lambda x: F.pixel_unshuffle(x, 2), (2, 2, 4)),
    **{function: Example(lambda x, function=function: function(x, 2, 1)[1]) for function in (torch.chunk, torch.split)},
    torch.unbind: Example(lambda x: torch.unbind(x, 1)[2]),
    **methods("flatten squeeze", 1), **methods("unsqueeze", 2), **methods("transpose", 1, 3),
    **methods("view reshape", 1, 3, 8), **methods("permute", 0, 2, 3, 1), **methods("unflatten", 1, (2, 2)),
    "expand": Example(lambda x: x.expand(-1, 3, -1, -1), (1, 2, 2)), **methods("repeat", 1, 1, 2, 1),
    "chunk": Example(lambda x: torch.cat(x.chunk(4, 1)[1:], 1)), "split": Example(lambda x: x.split([1, 3], 1)[1]),
    "unbind": Example(lambda x: x.unbind(2)[0]), **methods("flip", 3), **methods("roll", 1, 1),
    "t": Example(lambda x: x.t().t(), (5,)), "T": Example(lambda x: x.T.T, (5,)), "mT": Example(lambda x: x.mT),
    **methods("narrow", 1, 1, 2), **methods("select", 1, 3),
    F.pad: Example(lambda x: F.pad(x, (1, -1, 0, 2))), operator.getitem: Example(lambda x: x[:, 1:, ::2]),
}  # fmt: skip

EXAMPLES: dict[Any, Example] = {**LAYERS, **ELEMENTWISE, **TWO, **OTHERS, **MOVES}

VARIANTS: list[tuple[Any, Example]] = [
    (operator.add, Example(lambda x: x + 1, is_linear=False)), (operator.add, Example(lambda x: x + 0)),
    (operator.sub, Example(lambda x: 2 - x, is_linear=False)), ("add", Example(lambda x: x.add(x))),
    (operator.mul, Example(lambda x: x * 2)), (operator.mul, Example(lambda x: 0 * x)),
    (operator.mul, Example(lambda x, y: x * torch.sigmoid(y.amax((2, 3), keepdim=True)), inputs=2)),
    (torch.cat, Example(lambda x, y: torch.cat([x, y], -1), inputs=2)),
    ("mean", Example(lambda x: x.mean().reshape(1, 1))), ("sum", Example(lambda x: x.sum((1, 2)))),
    (nn.MaxPool2d, Example(nn.MaxPool2d((2, 1), 2, ceil_mode=True), (2, 3, 4))),
    (nn.AvgPool2d, Example(nn.AvgPool2d((1, 3), (1, 2), (0, 1)), (2, 2, 5))),
    (F.pad, Example(lambda x: F.pad(x, (1, 1, 1, 0), "reflect"))),
    (operator.getitem, Example(lambda x: x[:, 2])), (operator.getitem, Example(lambda x: x.chunk(2, 1)[1])),
    *((MaskedConv2d, Example(MaskedConv2d(4, 4, 2, groups=groups, padding="same", padding_mode=mode)))
      for groups, mode in ((1, "reflect"), (2, "replicate"), (4, "circular"))),
]  # fmt: skip
"""Further uses of some entries."""

WITHOUT_RULE = [key for key, op in OPERATIONS.items() if type(op).flow is Op.flow]

AS_RECORDED = {
    operator.iadd: operator.add, operator.isub: operator.sub, operator.imul: operator.mul, F.tanh: "tanh",
    F.sigmoid: "sigmoid",
}  # fmt: skip
"""Functions that this version of torch.fx records as others: a graph has them only if it was edited."""


class Chain(nn.Module):
    """Dense layers on the network's input, an operation on their outputs, and a dense layer on the result."""

    def __init__(self, example: Example) -> None:
        super().__init__()
        self.shapes = [example.shape] * example.inputs
        self.layers = nn.ModuleList(MaskedLinear(3, math.prod(shape), bias=False) for shape in self.shapes)
        self.operation = copy.deepcopy(example.operation)  # networks that are converted share no example
        self.head = MaskedLinear(flat_result(example).shape[1], 2, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        parts = [layer(x).unflatten(1, shape) for layer, shape in zip(self.layers, self.shapes, strict=True)]
        return self.head(self.apply_to(*parts))

    def apply_to(self, *parts: Tensor) -> Tensor:
        """The operation on its inputs, with a result of one axis."""
        return self.operation(*parts).flatten(1)


class Gated(Chain):
    """The same, multiplied by the outputs of a further dense layer."""

    def __init__(self, example: Example) -> None:
        super().__init__(example)
        results = self.head.in_features
        self.shapes = [*self.shapes, (results,)]
        self.layers.append(MaskedLinear(3, results, bias=False))

    def apply_to(self, *parts: Tensor) -> Tensor:
        *inputs, factor = parts
        return super().apply_to(*inputs) * factor


class Joined(nn.Module):
    """Two layers with the same units whose outputs, behind an operation of one input, are added."""

    def __init__(self, example: Example) -> None:
        super().__init__()
        units = example.shape[0]
        is_map = len(example.shape) > 1
        self.a, self.b = (MaskedConv2d(2, units, 1) if is_map else MaskedLinear(2, units) for _ in range(2))
        self.operation, self.inputs = example.operation, example.inputs
        self.head = MaskedLinear(flat_result(example).shape[1], 2)

    def forward(self, x: Tensor) -> Tensor:
        a, b = self.a(x), self.b(x)
        return self.head(
            (self.operation(a, b) if self.inputs == 2 else self.operation(a) + self.operation(b)).flatten(1)
        )


def flat_result(example: Example) -> Tensor:
    """What an operation returns for an input of ones, in evaluation mode."""
    if isinstance(example.operation, nn.Module):
        example.operation.eval()
    inputs = [torch.ones(1, *example.shape) for _ in range(example.inputs)]
    with torch.no_grad():
        return example.operation(*inputs).flatten(1)


def name_of(key: Any) -> str:
    return getattr(key, "__name__", str(key)) + ("()" if isinstance(key, str) else "")


def dependencies(model: Chain, alive: Tensor, generator: torch.Generator) -> Tensor:
    """Which results depend on which inputs, (results, inputs), found by changing one entry after the other.

    Inputs that are not alive are 0. Depending on an input means to differ between any two of its values, somewhere.
    """
    sizes = [math.prod(shape) for shape in model.shapes]

    def run(flat: Tensor) -> Tensor:
        parts = zip(flat.split(sizes), model.shapes, strict=True)
        return model.apply_to(*(part.reshape(1, *shape).clone() for part, shape in parts))[0]

    columns = []
    for place in range(len(alive)):
        differs = torch.zeros(model.head.in_features, dtype=torch.bool)
        for sign in (1, -1) if alive[place] else ():
            base = alive * sign * (torch.rand(len(alive), generator=generator, dtype=torch.float64) + 0.6)
            results = []
            for value in (-3, -0.3, 0.15, 1.7, 4):
                base[place] = value
                results.append(run(base))
            spread = torch.stack(results).nan_to_num(nan=0)
            differs |= (spread.amax(0) - spread.amin(0)).abs() > 1e-9
        columns.append(differs)
    return torch.stack(columns, 1)
