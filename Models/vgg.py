"""VGG for small images: those of the effective-sparsity experiments, and those of OpenLTH.

Simonyan & Zisserman 2015 ("Very deep convolutional networks for large-scale image recognition"), with a single dense
layer at the end.
"""

from collections import OrderedDict

from torch import nn

from Layers import MaskedBatchNorm1d, MaskedBatchNorm2d, MaskedConv2d, MaskedLinear
from Models.keras import keras_initialise, keras_normalisation

_POOL = 0
_PLANS = {
    11: (64, _POOL, 128, _POOL, 256, 256, _POOL, 512, 512, _POOL, 512, 512),
    13: (64, 64, _POOL, 128, 128, _POOL, 256, 256, _POOL, 512, 512, _POOL, 512, 512),
    16: (64, 64, _POOL, 128, 128, _POOL, *(256,) * 3, _POOL, *(512,) * 3, _POOL, *(512,) * 3),
    19: (64, 64, _POOL, 128, 128, _POOL, *(256,) * 4, _POOL, *(512,) * 4, _POOL, *(512,) * 4),
}
"""Filters of each convolution, and the poolings between them; one more pooling follows."""


def vgg(input_shape: tuple[int, int, int], classes: int, batchnorm: str, depth: int) -> nn.Module:
    """As in the effective-sparsity experiments: biases, and batch normalisation after every kernel, the last too."""
    normalisation = keras_normalisation(batchnorm)
    layers = _features(input_shape, depth, normalisation)
    layers["pool5"] = nn.MaxPool2d(2)
    layers |= _head(input_shape, classes)
    layers["fc_norm"] = MaskedBatchNorm1d(classes, **normalisation)
    return keras_initialise(nn.Sequential(OrderedDict(layers)))


def lottery_vgg(
    input_shape: tuple[int, int, int], classes: int, batchnorm: str, depth: int, is_normalised: bool
) -> nn.Module:
    """As in OpenLTH (Frankle & Carbin 2019): biases, average pooling at the end, normalisation only in `-bn`."""
    normalisation = {"track_running_stats": batchnorm == "running"} if is_normalised else None
    layers = _features(input_shape, depth, normalisation)
    layers["pool5"] = nn.AvgPool2d(2)
    model = nn.Sequential(OrderedDict(layers | _head(input_shape, classes)))
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(layer.weight)
            assert layer.bias is not None
            nn.init.zeros_(layer.bias)
    return model


def _features(input_shape: tuple[int, int, int], depth: int, normalisation: dict | None) -> dict[str, nn.Module]:
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
        layers[name] = MaskedConv2d(channels, filters, 3, padding=1)
        if normalisation is not None:
            layers[f"{name}_norm"] = MaskedBatchNorm2d(filters, **normalisation)
        layers[f"{name}_relu"] = nn.ReLU()
        channels = filters
    return layers


def _head(input_shape: tuple[int, int, int], classes: int) -> dict[str, nn.Module]:
    features = 512 * (input_shape[1] // 32) * (input_shape[2] // 32)
    return {"flatten": nn.Flatten(), "fc": MaskedLinear(features, classes)}
