"""Tiny networks of every kind of connection, for tests that search paths by brute force."""

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.ops.misc import Permute

from Layers import MaskedBatchNorm2d, MaskedConv2d, MaskedIdentity, MaskedLinear, Masks, prunable
from Layers.masked import Masked


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = MaskedConv2d(2, 3, 3, padding=1, bias=False)
        self.norm = MaskedBatchNorm2d(3)
        self.left = MaskedConv2d(3, 3, 3, padding=1)
        self.right = MaskedConv2d(3, 4, 3, stride=2, padding=1)
        self.shortcut = MaskedConv2d(3, 4, 1, stride=2)
        self.head = MaskedLinear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.norm(self.stem(x)))
        x = x + self.left(x).relu()
        x = self.right(x) + self.shortcut(x)
        return self.head(x.mean((2, 3)))


class Concatenation(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = MaskedConv2d(2, 2, 3, padding=1, padding_mode="reflect")
        self.second = MaskedConv2d(4, 3, 2, padding=1, padding_mode="circular")
        self.pool = nn.AdaptiveAvgPool2d((3, 2))
        self.head = MaskedLinear(3 * 3 * 2, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.cat([x, self.first(x)], 1)
        return self.head(torch.flatten(self.pool(torch.tanh(self.second(x))), 1))


class Gate(nn.Module):
    """Squeeze-excite: the gate is open (sigmoid(0) is 1/2) even where it carries nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = MaskedConv2d(2, 3, 2, stride=2)
        self.squeeze = MaskedLinear(3, 2)
        self.excite = MaskedLinear(2, 3)
        self.head = MaskedLinear(3 * 2 * 2, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.stem(x))
        gate = torch.sigmoid(self.excite(F.relu(self.squeeze(x.mean([2, 3])))))
        return self.head((x * gate[:, :, None, None]).flatten(1))


class Product(nn.Module):
    """Both factors carry, each as far as the other can be other than zero."""

    def __init__(self) -> None:
        super().__init__()
        self.left = MaskedLinear(4, 5)
        self.right = MaskedLinear(4, 5)
        self.head = MaskedLinear(5, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = x.reshape(x.size(0), -1)
        return self.head(F.relu(self.left(x)) * self.right(x))


class Grouped(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.widen = MaskedConv2d(2, 4, (1, 2), groups=2, padding=(0, 1), padding_mode="replicate")
        self.depthwise = MaskedConv2d(4, 4, 3, groups=4, stride=2, padding=2, dilation=2)
        self.skip = MaskedIdentity(4)
        self.pool = nn.AvgPool2d(2, stride=1, padding=1, ceil_mode=True)
        self.head = MaskedConv2d(4, 2, 1, padding="same")

    def forward(self, x: Tensor) -> Tensor:
        x = self.widen(x)
        first, second = torch.chunk(self.depthwise(x), 2, dim=1)
        x = torch.cat([second, first.relu()], dim=1)
        x = self.skip(x) + F.pad(self.pool(x), (0, -1, -1, 0))
        return self.head(x).permute(0, 2, 3, 1).sum((1, 2))


class MaxPooled(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = MaskedConv2d(1, 2, 3, padding="same", dilation=2)
        self.pool = nn.MaxPool2d(3, stride=2, padding=1)
        self.second = MaskedConv2d(2, 2, 2)
        self.head = MaskedLinear(2 * 2, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.second(self.pool(self.first(x)))
        x = F.max_pool2d(x, 2, stride=1, ceil_mode=True)
        x = F.adaptive_max_pool2d(x, (2, 1))
        return self.head(x.view(x.shape[0], -1))


NETWORKS = {
    "residual": (Residual, (2, 5, 4)),
    "concatenation": (Concatenation, (2, 4, 5)),
    "gate": (Gate, (2, 4, 4)),
    "product": (Product, (1, 2, 2)),
    "grouped": (Grouped, (2, 4, 5)),
    "max-pooled": (MaxPooled, (1, 5, 6)),
}


def make(name: str) -> tuple[nn.Module, tuple[int, ...]]:
    """A network and its input shape."""
    network, shape = NETWORKS[name]
    return network(), shape


def random_masks(model: nn.Module, density: float, seed: int) -> Masks:
    """Masks that keep each entry with the same probability."""
    generator = torch.Generator().manual_seed(seed)
    own = Masks.of(model)
    return Masks({name: torch.rand(mask.shape, generator=generator) < density for name, mask in own.items()})


def path_counts(model: nn.Module, masks: Masks, input_shape: tuple[int, ...], level: float = 1e-3) -> dict[str, Tensor]:
    """Effective masks from a float64 sum over paths: positive weights, small positive shifts, averages for maxima.

    Every path from an input then adds something positive to the derivative of the outputs by the inputs, so nothing can
    cancel. A weight is effective if that derivative depends on it, other than by the value of another factor of a
    product. A shift is effective if its unit has an effective weight.
    """
    positive = _positive(model, masks)
    with _averages_for_maxima():
        # Small inputs (`level`) keep sigmoid and tanh away from where their derivative rounds to zero.
        inputs = torch.full((1, *input_shape), level, dtype=torch.float64, requires_grad=True)
        output = positive(inputs)
    (by_inputs,) = torch.autograd.grad(output.sum(), inputs, create_graph=True)
    weights = {name: weight for name, (weight, _) in prunable(positive).items()}
    derivatives = torch.autograd.grad(by_inputs.sum(), list(weights.values()), allow_unused=True)
    effective = {
        name: masks[name] & (value > 0) if value is not None else torch.zeros_like(masks[name])
        for name, value in zip(weights, derivatives, strict=True)
    }
    for name in effective:
        scale = f"{name.removesuffix('bias')}weight"
        if scale != f"{name}weight":
            effective[name] = masks[name] & effective[scale].reshape(len(masks[name]), -1).any(1)
    return effective


def _positive(model: nn.Module, masks: Masks) -> nn.Module:
    """A masked copy with positive weights and small positive shifts, in which each layer is `_for_inputs_only`."""
    positive = copy.deepcopy(model).double().eval()
    masks.install(positive)
    for weight, _ in prunable(positive).values():
        weight.requires_grad_()  # also of identity skips, which do not train
    generator = torch.Generator().manual_seed(0)
    for name, parameter in positive.named_parameters():
        size = 1e-4 if name.endswith("bias") else 1.0
        parameter.data = size * (torch.rand(parameter.shape, generator=generator, dtype=torch.float64) + 0.5)
    for module in list(positive.modules()):
        if isinstance(module, Masked):
            module.forward = partial(_for_inputs_only, module.forward)  # type: ignore[method-assign]
        for name, child in list(module.named_children()):
            if isinstance(child, nn.MaxPool2d):
                setattr(module, name, nn.AvgPool2d(child.kernel_size, child.stride, child.padding))
    return positive


@contextmanager
def _averages_for_maxima() -> Iterator[None]:
    averages = {"max_pool2d": F.avg_pool2d, "adaptive_max_pool2d": F.adaptive_avg_pool2d}
    originals = {name: getattr(F, name) for name in averages}
    try:
        for name, average in averages.items():
            setattr(F, name, average)
        yield
    finally:
        for name, original in originals.items():
            setattr(F, name, original)


def _for_inputs_only(forward: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """The output of a layer, which depends on its weights only in its derivative by the input, not in its value."""
    constant = forward(x.detach())
    return forward(x) - constant + constant.detach()


class _Clamp(torch.autograd.Function):
    """Whether anything arrives, forward from the inputs and backward from the outputs: 0 or 1."""

    @staticmethod
    def forward(ctx, value: Tensor) -> Tensor:
        return (value > 0).to(value.dtype)

    @staticmethod
    def backward(ctx, *gradients: Tensor) -> Tensor:
        return (gradients[0] > 0).to(gradients[0].dtype)


def clamped_path_counts(model: nn.Module, masks: Masks, input_shape: tuple[int, ...]) -> dict[str, Tensor]:
    """Effective masks from a float64 path count that is clamped to 0 or 1 after each operation, for deep networks.

    A weight lies on a path if something arrives at it from the inputs and from the outputs: its derivative.
    """
    counted = copy.deepcopy(model).double().eval()
    joining = (nn.Linear, nn.Conv2d, nn.Flatten, nn.AvgPool2d, nn.AdaptiveAvgPool2d, Permute)
    masks.install(counted)
    for name, parameter in counted.named_parameters():
        parameter.data = torch.zeros_like(parameter) if name.endswith("bias") else torch.ones_like(parameter)
    for module in list(counted.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, nn.MaxPool2d):
                setattr(module, name, nn.AvgPool2d(child.kernel_size, child.stride, child.padding, child.ceil_mode))
            elif isinstance(child, nn.LayerNorm):
                # Of channels: the second axis in torchvision's variant for images, else the last.
                axis = 1 if type(child) is not nn.LayerNorm else -1
                child.forward = lambda x, axis=axis: x + x.mean(axis, keepdim=True)  # type: ignore[method-assign]
            elif not list(child.children()) and not isinstance(child, joining):
                setattr(module, name, nn.Identity())  # normalisation, activation, dropout
        if type(module).__name__ == "SqueezeExcitation":
            # The gate is open at zero; what it carries goes everywhere, as normalisation shifts the gated signal.
            module.forward = lambda x, gate=module: x + gate._scale(x)  # type: ignore[method-assign]
    for module in counted.modules():
        if not list(module.children()):
            module.register_forward_hook(lambda module, inputs, output: _Clamp.apply(output))
    relu, F.relu = F.relu, lambda x, inplace=False: _Clamp.apply(x)
    try:
        output = counted(torch.ones(1, *input_shape, dtype=torch.float64))
    finally:
        F.relu = relu
    weights = {name: parameter for name, parameter in counted.named_parameters() if name in masks}
    derivatives = torch.autograd.grad(output.sum(), list(weights.values()))
    return {name: masks[name] & (found > 0) for name, found in zip(weights, derivatives, strict=True)}


def without_biases(model: nn.Module) -> nn.Module:
    """The same network, with all biases and shifts set to zero."""
    for name, parameter in model.named_parameters():
        if name.rpartition(".")[2] == "bias":
            nn.init.zeros_(parameter)
    return model
