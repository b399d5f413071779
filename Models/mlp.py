"""Networks without normalisation, for small images, as three programs define them."""

import math
from collections import OrderedDict
from itertools import pairwise

from torch import nn

from Layers import MaskedConv2d, MaskedLinear


def fc(input_shape: tuple[int, int, int], classes: int, batchnorm: str, bias: bool = True) -> nn.Module:
    """Five hidden layers of 100 units, with PyTorch's default initialisation (Tanaka et al. 2020).

    Biases belong to the synaptic-flow program; for Gem-Miner, the sparse-network-analysis program has none.
    """
    return _dense((math.prod(input_shape), *[100] * 5, classes), bias)


def conv(input_shape: tuple[int, int, int], classes: int, batchnorm: str) -> nn.Module:
    """Two convolutions of 32 filters and a dense layer, with PyTorch's default initialisation (Tanaka et al. 2020)."""
    channels, height, width = input_shape
    layers = {
        "conv1": MaskedConv2d(channels, 32, 3, padding=1), "conv1_relu": nn.ReLU(),
        "conv2": MaskedConv2d(32, 32, 3, padding=1), "conv2_relu": nn.ReLU(),
        "flatten": nn.Flatten(), "fc": MaskedLinear(32 * height * width, classes),
    }  # fmt: skip
    return nn.Sequential(OrderedDict(layers))


def mlp(input_shape: tuple[int, int, int], classes: int, batchnorm: str) -> nn.Module:
    """Hidden layers of 1000, 1000, 500 and 200 units, no biases, Glorot uniform initialisation (network-pruning)."""
    model = _dense((math.prod(input_shape), 1000, 1000, 500, 200, classes), bias=False)
    for layer in model.modules():
        if isinstance(layer, nn.Linear):
            nn.init.xavier_uniform_(layer.weight)
    return model


def _dense(widths: tuple[int, ...], bias: bool) -> nn.Sequential:
    layers: dict[str, nn.Module] = {"flatten": nn.Flatten()}
    for index, (inputs, outputs) in enumerate(pairwise(widths), start=1):
        layers[f"fc{index}"] = MaskedLinear(inputs, outputs, bias=bias)
        if index < len(widths) - 1:
            layers[f"fc{index}_relu"] = nn.ReLU()
    return nn.Sequential(OrderedDict(layers))
