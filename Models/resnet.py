"""Residual networks for small images, as five programs define them.

He et al. 2016 ("Deep residual learning for image recognition"): blocks of convolutions in parallel to a skip, which is
a 1 x 1 convolution if the size changes. Zagoruyko & Komodakis 2016 ("Wide residual networks"): wider blocks.
"""

from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from Layers import MaskedBatchNorm1d, MaskedBatchNorm2d, MaskedConv2d, MaskedIdentity, MaskedLinear
from Models.initialisation import keras_initialise, keras_normalisation

_EXPANSION = 4
"""Output channels of a bottleneck block, as a multiple of its filters."""

_DEPTHS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}
"""Blocks per stage of the networks for ImageNet; networks of depth 50 or more have bottlenecks."""


@dataclass(frozen=True)
class _Plan:
    """Structure of a residual network."""

    stages: tuple[tuple[int, int], ...]
    """Filters and number of blocks per stage."""
    normalisation: dict[str, Any] = field(default_factory=dict)
    has_bottlenecks: bool = False
    widening: int = 1
    """Width of the convolutions inside a block, as a multiple of the block's filters."""
    normalises_all: bool = False
    """Whether all skips and the outputs are normalised, too."""
    scales_skips: bool = False
    """Whether identity skips have a trained scale per channel, which starts from 1."""
    masks_shortcuts: bool = True
    """Whether shortcut convolutions have masks."""
    masks_dense: bool = True
    """Whether the dense layer has a mask."""
    has_bias: bool = True
    """Whether the dense layer has a bias."""


def resnet18(input_shape: tuple[int, int, int], classes: int, batchnorm: str) -> nn.Module:
    """As in the effective-sparsity experiments: no biases, and normalisation after every kernel and every skip."""
    stages = ((64, 2), (128, 2), (256, 2), (512, 2))
    plan = _Plan(stages, keras_normalisation(batchnorm), normalises_all=True, has_bias=False)
    return keras_initialise(_ResNet(input_shape[0], classes, plan))


def lottery_resnet(
    input_shape: tuple[int, int, int], classes: int, batchnorm: str, depth: int, width: int = 16
) -> nn.Module:
    """As in OpenLTH: three stages of 1, 2 and 4 times `width` filters, (depth - 2) / 6 blocks each."""
    return _kaiming(_ResNet(input_shape[0], classes, _Plan(_three_stages(depth, width), _tracking(batchnorm))))


def union_resnet(input_shape: tuple[int, int, int], classes: int, batchnorm: str, depth: int) -> nn.Module:
    """As in the union-mask experiments: twice OpenLTH's width, no masks on shortcut convolutions and dense layer."""
    plan = _Plan(_three_stages(depth, 32), _tracking(batchnorm), masks_shortcuts=False, masks_dense=False)
    model = _ResNet(input_shape[0], classes, plan)
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.xavier_uniform_(layer.weight)
    return model


def gem_miner_resnet(input_shape: tuple[int, int, int], classes: int, batchnorm: str, depth: int) -> nn.Module:
    """As in the sparse-network-analysis program for Gem-Miner: OpenLTH's shape, with PyTorch's default initialisation.

    Identity skips have a trained scale per channel. Shortcuts have no mask; the dense layer has one, and no bias.
    """
    stages = _three_stages(depth, 16)
    plan = _Plan(stages, _tracking(batchnorm), scales_skips=True, masks_shortcuts=False, has_bias=False)
    return _ResNet(input_shape[0], classes, plan)


def tinyimagenet_resnet(
    input_shape: tuple[int, int, int], classes: int, batchnorm: str, depth: int, widening: int = 1
) -> nn.Module:
    """The networks for ImageNet with a stem for small images: 3 x 3 convolution, no pooling (Tanaka et al. 2020).

    Wide networks have twice as many filters inside each block, basic or bottleneck, like torchvision's bottlenecks.
    """
    stages = tuple(zip((64, 128, 256, 512), _DEPTHS[depth], strict=True))
    plan = _Plan(stages, _tracking(batchnorm), has_bottlenecks=depth >= 50, widening=widening)
    model = _ResNet(input_shape[0], classes, plan)
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
    return model


def _three_stages(depth: int, width: int) -> tuple[tuple[int, int], ...]:
    blocks = (depth - 2) // 6
    return ((width, blocks), (2 * width, blocks), (4 * width, blocks))


def _tracking(batchnorm: str) -> dict[str, Any]:
    return {"track_running_stats": batchnorm == "running"}


def _kaiming(model: nn.Module) -> nn.Module:
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
    return model


class _ChannelScale(nn.Module):
    """A skip connection with a trained factor per channel, which starts from 1."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels, 1, 1))

    def forward(self, input: Tensor) -> Tensor:
        return input * self.weight


class _Block(nn.Module):
    """relu(convolutions(x) + skip(x)), with two convolutions, or three in a bottleneck."""

    def __init__(self, channels: int, filters: int, stride: int, plan: _Plan) -> None:
        super().__init__()
        inner, self.channels = filters * plan.widening, filters
        if plan.has_bottlenecks:
            self.channels = filters * _EXPANSION
            shapes = [(channels, inner, 1, 1), (inner, inner, 3, stride), (inner, self.channels, 1, 1)]
        else:
            shapes = [(channels, inner, 3, stride), (inner, self.channels, 3, 1)]
        for index, (inputs, outputs, kernel, step) in enumerate(shapes, start=1):
            conv = MaskedConv2d(inputs, outputs, kernel, step, kernel // 2, bias=False)
            self.add_module(f"conv{index}", conv)
            self.add_module(f"norm{index}", MaskedBatchNorm2d(outputs, **plan.normalisation))
        self.convolutions = len(shapes)
        is_same = channels == self.channels and stride == 1
        convolution = MaskedConv2d if plan.masks_shortcuts else nn.Conv2d
        if not is_same:
            self.skip: nn.Module = convolution(channels, self.channels, 1, stride, bias=False)
        else:
            self.skip = _ChannelScale(channels) if plan.scales_skips else MaskedIdentity(channels)
        has_norm = plan.normalises_all or not is_same
        self.skip_norm = MaskedBatchNorm2d(self.channels, **plan.normalisation) if has_norm else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        branch = x
        for index in range(1, self.convolutions + 1):
            branch = getattr(self, f"norm{index}")(getattr(self, f"conv{index}")(branch))
            if index < self.convolutions:
                branch = F.relu(branch)
        return F.relu(branch + self.skip_norm(self.skip(x)))


class _ResNet(nn.Module):
    """A convolution, stages of blocks, global average pooling and a dense layer."""

    def __init__(self, channels: int, classes: int, plan: _Plan) -> None:
        super().__init__()
        width = plan.stages[0][0]
        self.conv = MaskedConv2d(channels, width, 3, padding=1, bias=False)
        self.norm = MaskedBatchNorm2d(width, **plan.normalisation)
        blocks: list[nn.Module] = []
        for stage, (filters, count) in enumerate(plan.stages):
            for index in range(count):
                block = _Block(width, filters, 2 if stage > 0 and index == 0 else 1, plan)
                blocks.append(block)
                width = block.channels
        self.blocks = nn.Sequential(*blocks)
        self.pool = nn.AdaptiveAvgPool2d(1)
        dense = MaskedLinear if plan.masks_dense else nn.Linear
        self.fc = dense(width, classes, bias=plan.has_bias)
        self.fc_norm = MaskedBatchNorm1d(classes, **plan.normalisation) if plan.normalises_all else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool(self.blocks(F.relu(self.norm(self.conv(x)))))
        return self.fc_norm(self.fc(x.flatten(1)))
