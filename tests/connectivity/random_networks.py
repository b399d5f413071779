"""Random networks of convolutions, pools, sums, gates, chunks and slices, drawn by hypothesis."""

import torch
from hypothesis import strategies as st
from torch import Tensor, nn

from Layers import MaskedBatchNorm2d, MaskedConv2d, MaskedIdentity, MaskedLinear

SHAPE = (2, 5, 6)
"""Shape of the inputs."""


class Sum(nn.Module):
    """Adds what two branches make of the same input, or a branch to its input."""

    def __init__(self, left: nn.Module, right: nn.Module) -> None:
        super().__init__()
        self.left, self.right = left, right
        self.left_end, self.right_end = nn.Identity(), nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.left_end(self.left(x)) + self.right_end(self.right(x))


class Gate(Sum):
    """Multiplies a branch by a sigmoid, or a rectifier, of another one."""

    def __init__(self, left: nn.Module, right: nn.Module, activation: nn.Module) -> None:
        super().__init__(left, right)
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        return self.left_end(self.left(x)) * self.activation(self.right_end(self.right(x)))


class Concatenation(Sum):
    """Joins the channels of two branches."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.left(x), self.right(x)], 1)


class Chunks(Sum):
    """Joins a branch of the second half of the channels and another one of the first half."""

    def forward(self, x: Tensor) -> Tensor:
        first, second = x.chunk(2, 1)
        return torch.cat([self.left(second), self.right(first)], 1)


class Slice(nn.Module):
    """Leaves out the first channel, every other channel or a row, or turns the channels round."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind

    def forward(self, x: Tensor) -> Tensor:
        if self.kind == "channels":
            return x[:, 1:]
        if self.kind == "every other":
            return x[:, ::2]
        return x.flip(1) if self.kind == "flip" else x[:, :, 1:]


def same_size(inputs: int, outputs: int) -> nn.Module:
    """A convolution that keeps the size of a map."""
    return MaskedConv2d(inputs, outputs, 3, padding=1)


@st.composite
def convolutions(draw: st.DrawFn, channels: int, size: tuple[int, int], width: int) -> nn.Module:
    kernel = tuple(draw(st.integers(1, min(3, length))) for length in size)
    dilation = tuple(
        draw(st.sampled_from([1, 2])) if 2 * (reach - 1) < length else 1
        for reach, length in zip(kernel, size, strict=True)
    )
    # Reflection and circular padding must be smaller than the map.
    padding = tuple(draw(st.integers(0, min(2, length - 1))) for length in size)
    mode = draw(st.sampled_from(["zeros", "reflect", "replicate", "circular"]))
    groups = draw(st.sampled_from([1, channels, 2 - channels % 2]))
    outputs = groups * draw(st.integers(1, 2 if groups == channels else max(2, width // 2)))
    stride = draw(st.tuples(st.integers(1, 2), st.integers(1, 2)))
    return MaskedConv2d(
        channels, outputs, kernel, stride=stride, dilation=dilation, padding=padding, groups=groups, padding_mode=mode
    )  # fmt: skip


@st.composite
def pools(draw: st.DrawFn, size: tuple[int, int]) -> nn.Module:
    if draw(st.booleans()):
        return nn.AdaptiveAvgPool2d(tuple(draw(st.integers(1, length)) for length in size))
    kernel = draw(st.integers(1, min(3, *size)))
    stride, padding = draw(st.integers(1, 2)), draw(st.integers(0, kernel // 2))
    if draw(st.booleans()):
        return nn.MaxPool2d(kernel, stride, padding)
    return nn.AvgPool2d(kernel, stride, padding, ceil_mode=draw(st.booleans()))


@st.composite
def joints(draw: st.DrawFn, channels: int, width: int) -> nn.Module:
    """Two branches that are joined."""
    kinds = ["skip", "sum", "concatenation", "gate", "product", "chunks"]
    kind = draw(st.sampled_from(kinds if channels % 2 == 0 else kinds[:-1]))
    if kind == "chunks":
        half = channels // 2
        left = draw(st.sampled_from([nn.Identity(), same_size(half, half)]))
        return Chunks(left, same_size(half, draw(st.integers(1, half))))
    outputs = channels if kind in ("skip", "gate") else draw(st.integers(1, width))
    left = nn.Identity() if kind in ("skip", "gate") else same_size(channels, outputs)
    right = same_size(channels, outputs)
    if kind in ("gate", "product"):
        return Gate(left, right, nn.Sigmoid() if kind == "gate" else nn.ReLU())
    return (Concatenation if kind == "concatenation" else Sum)(left, right)


@st.composite
def networks(draw: st.DrawFn, width: int = 3) -> nn.Sequential:
    """A convolution, up to four random steps, and a dense layer."""
    steps: list[nn.Module] = [same_size(SHAPE[0], draw(st.integers(1, width)))]
    for _ in range(draw(st.integers(1, 4))):
        channels, *size = shape_after(steps)
        step = draw(st.one_of(
            convolutions(channels, tuple(size), width), pools(tuple(size)), joints(channels, width),
            joints(channels, width), st.sampled_from(["channels", "every other", "flip", "rows"]).map(Slice),
            st.just(2 - channels % 2).map(nn.ChannelShuffle), st.just(channels).map(MaskedBatchNorm2d),
            st.just(channels).map(MaskedIdentity), st.sampled_from([nn.ReLU, nn.Tanh, nn.Dropout]).map(lambda k: k()),
        ))  # fmt: skip
        is_empty = isinstance(step, Slice) and (size[0] if step.kind == "rows" else channels) == 1
        if not is_empty:
            steps.append(step)
    features = torch.Size(shape_after(steps)).numel()
    for step in steps:
        if isinstance(step, MaskedBatchNorm2d | MaskedIdentity) and draw(st.booleans()):
            step.add_mask("weight")
    return nn.Sequential(*steps, nn.Flatten(), MaskedLinear(features, 2)).eval()


@torch.no_grad()
def shape_after(steps: list[nn.Module]) -> tuple[int, ...]:
    return tuple(nn.Sequential(*steps).eval()(torch.zeros(2, *SHAPE)).shape[1:])
