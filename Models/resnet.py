"""Residual networks for small images: that of the effective-sparsity experiments, and those of OpenLTH.

He et al. 2016 ("Deep residual learning for image recognition"), of basic blocks: two convolutions beside a skip, which
is a 1 x 1 convolution where the size changes.
"""

import torch.nn.functional as F
from torch import Tensor, nn

from Layers import MaskedBatchNorm1d, MaskedBatchNorm2d, MaskedConv2d, MaskedIdentity, MaskedLinear
from Models.keras import keras_initialise, keras_normalisation


def resnet18(input_shape: tuple[int, int, int], classes: int, batchnorm: str) -> nn.Module:
    """As in the effective-sparsity experiments: no bias anywhere, normalisation after every kernel and every skip."""
    normalisation = keras_normalisation(batchnorm)
    stages = ((64, 2), (128, 2), (256, 2), (512, 2))
    model = _ResNet(input_shape[0], stages, classes, normalisation, normalises_all=True)
    return keras_initialise(model)


def lottery_resnet(input_shape: tuple[int, int, int], classes: int, batchnorm: str, depth: int) -> nn.Module:
    """As in OpenLTH: three stages of 16, 32 and 64 filters, (depth - 2) / 6 blocks each."""
    normalisation = {"track_running_stats": batchnorm == "running"}
    blocks = (depth - 2) // 6
    stages = ((16, blocks), (32, blocks), (64, blocks))
    model = _ResNet(input_shape[0], stages, classes, normalisation, normalises_all=False)
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
    return model


class _Block(nn.Module):
    """relu(kernels(x) + skip(x))."""

    def __init__(self, channels: int, filters: int, stride: int, normalisation: dict, normalises_all: bool) -> None:
        super().__init__()
        self.conv1 = MaskedConv2d(channels, filters, 3, stride, 1, bias=False)
        self.norm1 = MaskedBatchNorm2d(filters, **normalisation)
        self.conv2 = MaskedConv2d(filters, filters, 3, 1, 1, bias=False)
        self.norm2 = MaskedBatchNorm2d(filters, **normalisation)
        is_same = channels == filters and stride == 1
        self.skip = MaskedIdentity(filters) if is_same else MaskedConv2d(channels, filters, 1, stride, bias=False)
        has_norm = normalises_all or not is_same
        self.skip_norm = MaskedBatchNorm2d(filters, **normalisation) if has_norm else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        kernels = self.norm2(self.conv2(F.relu(self.norm1(self.conv1(x)))))
        return F.relu(kernels + self.skip_norm(self.skip(x)))


class _ResNet(nn.Module):
    """A convolution, stages of blocks, the mean over positions, a dense layer."""

    def __init__(
        self,
        channels: int,
        stages: tuple[tuple[int, int], ...],
        classes: int,
        normalisation: dict,
        normalises_all: bool,
    ) -> None:
        super().__init__()
        width = stages[0][0]
        self.conv = MaskedConv2d(channels, width, 3, padding=1, bias=False)
        self.norm = MaskedBatchNorm2d(width, **normalisation)
        blocks: list[nn.Module] = []
        for stage, (filters, count) in enumerate(stages):
            for index in range(count):
                stride = 2 if stage > 0 and index == 0 else 1
                blocks.append(_Block(width, filters, stride, normalisation, normalises_all))
                width = filters
        self.blocks = nn.Sequential(*blocks)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = MaskedLinear(width, classes, bias=not normalises_all)
        self.fc_norm = MaskedBatchNorm1d(classes, **normalisation) if normalises_all else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool(self.blocks(F.relu(self.norm(self.conv(x)))))
        return self.fc_norm(self.fc(x.flatten(1)))
