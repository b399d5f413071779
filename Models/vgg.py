"""VGG for small images, as four programs define it.

Simonyan & Zisserman 2015 ("Very deep convolutional networks for large-scale image recognition").
"""

from collections import OrderedDict
from itertools import pairwise
from typing import Any

from torch import nn

from Layers import MaskedBatchNorm1d, MaskedBatchNorm2d, MaskedConv2d, MaskedLinear
from Models.initialisation import keras_initialise, keras_normalisation

_POOL = 0
_PLANS = {
    11: (64, _POOL, 128, _POOL, 256, 256, _POOL, 512, 512, _POOL, 512, 512),
    13: (64, 64, _POOL, 128, 128, _POOL, 256, 256, _POOL, 512, 512, _POOL, 512, 512),
    16: (64, 64, _POOL, 128, 128, _POOL, *(256,) * 3, _POOL, *(512,) * 3, _POOL, *(512,) * 3),
    19: (64, 64, _POOL, 128, 128, _POOL, *(256,) * 4, _POOL, *(512,) * 4, _POOL, *(512,) * 4),
}
"""Filters of each convolution, and the pooling layers between them; one more pooling layer follows."""


def vgg(input_shape: tuple[int, int, int], classes: int, batchnorm: str, depth: int) -> nn.Module:
    """As in the effective-sparsity experiments: biases, batch normalisation after every kernel, including the last."""
    normalisation = keras_normalisation(batchnorm)
    layers = _features(input_shape, depth, normalisation)
    layers["pool5"] = nn.MaxPool2d(2)
    layers |= _head(input_shape, classes)
    layers["fc_norm"] = MaskedBatchNorm1d(classes, **normalisation)
    return keras_initialise(nn.Sequential(OrderedDict(layers)))


def lottery_vgg(
    input_shape: tuple[int, int, int], classes: int, batchnorm: str, depth: int, is_normalised: bool
) -> nn.Module:
    """As in OpenLTH (Frankle & Carbin 2019): biases, final average pooling, normalisation only in `-bn` networks."""
    layers = _features(input_shape, depth, _tracking(batchnorm) if is_normalised else None)
    layers["pool5"] = nn.AvgPool2d(2)
    model = nn.Sequential(OrderedDict(layers | _head(input_shape, classes)))
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(layer.weight)
            assert layer.bias is not None
            nn.init.zeros_(layer.bias)
    return model


def tinyimagenet_vgg(
    input_shape: tuple[int, int, int], classes: int, batchnorm: str, depth: int, is_normalised: bool
) -> nn.Module:
    """As in the synaptic-flow experiments: three dense layers with dropout after the first two."""
    layers = _features(input_shape, depth, _tracking(batchnorm) if is_normalised else None)
    layers["pool5"] = nn.MaxPool2d(2)
    layers["flatten"] = nn.Flatten()
    layers |= _dense((_flat(input_shape), 1024, 1024), dropout=0.5)
    layers["fc3"] = MaskedLinear(1024, classes)
    model = nn.Sequential(OrderedDict(layers))
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
        elif isinstance(layer, nn.Linear):
            nn.init.normal_(layer.weight, std=0.01)
        if isinstance(layer, nn.Conv2d | nn.Linear) and layer.bias is not None:
            nn.init.zeros_(layer.bias)
    return model


def union_vgg(
    input_shape: tuple[int, int, int], classes: int, batchnorm: str, depth: int, is_normalised: bool
) -> nn.Module:
    """As in the union-mask experiments: no biases except in the last of three dense layers, which has no mask."""
    layers = _features(input_shape, depth, _tracking(batchnorm) if is_normalised else None, bias=False)
    layers["pool5"] = nn.MaxPool2d(2)
    layers["flatten"] = nn.Flatten()
    layers |= _dense((_flat(input_shape), 512, 512), bias=False)
    layers["fc3"] = nn.Linear(512, classes)
    model = nn.Sequential(OrderedDict(layers))
    for layer in model.modules():
        if isinstance(layer, MaskedConv2d | MaskedLinear):
            nn.init.xavier_uniform_(layer.weight)
    return model


def _tracking(batchnorm: str) -> dict[str, Any]:
    return {"track_running_stats": batchnorm == "running"}


def _features(
    input_shape: tuple[int, int, int], depth: int, normalisation: dict[str, Any] | None, bias: bool = True
) -> dict[str, nn.Module]:
    channels, height, width = input_shape
    if min(height, width) < 32:
        raise ValueError(f"vgg{depth} needs an input of at least 32 x 32, not {height} x {width}")
    layers: dict[str, nn.Module] = {}
    convolutions = pools = 0
    for filters in _PLANS[depth]:
        if filters == _POOL:
            pools += 1
            layers[f"pool{pools}"] = nn.MaxPool2d(2)
            continue
        convolutions += 1
        name = f"conv{convolutions}"
        layers[name] = MaskedConv2d(channels, filters, 3, padding=1, bias=bias)
        if normalisation is not None:
            layers[f"{name}_norm"] = MaskedBatchNorm2d(filters, **normalisation)
        layers[f"{name}_relu"] = nn.ReLU()
        channels = filters
    return layers


def _head(input_shape: tuple[int, int, int], classes: int) -> dict[str, nn.Module]:
    return {"flatten": nn.Flatten(), "fc": MaskedLinear(_flat(input_shape), classes)}


def _dense(widths: tuple[int, ...], bias: bool = True, dropout: float = 0.0) -> dict[str, nn.Module]:
    layers: dict[str, nn.Module] = {}
    for index, (inputs, outputs) in enumerate(pairwise(widths), start=1):
        layers[f"fc{index}"] = MaskedLinear(inputs, outputs, bias=bias)
        layers[f"fc{index}_relu"] = nn.ReLU()
        if dropout:
            layers[f"fc{index}_dropout"] = nn.Dropout(dropout)
    return layers


def _flat(input_shape: tuple[int, int, int]) -> int:
    """Number of features after five pooling layers."""
    return 512 * (input_shape[1] // 32) * (input_shape[2] // 32)
