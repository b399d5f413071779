"""LeNet-300-100 and LeNet-5 as in the effective-sparsity experiments.

Batch normalisation follows every kernel, including the last one; ReLU follows all but the last. Initial kernels are
drawn from a truncated normal distribution of variance 2 / fan_avg, initial biases are zero.
"""

from collections import OrderedDict
from collections.abc import Sequence

from torch import nn

from Layers import MaskedBatchNorm1d, MaskedBatchNorm2d, MaskedConv2d, MaskedLinear
from Models.initialisation import keras_initialise, keras_normalisation


def lenet300100(input_shape: tuple[int, int, int], classes: int, batchnorm: str) -> nn.Module:
    """Two hidden layers of 300 and 100 units (LeCun et al. 1998); 266,200 weights on a 1 x 28 x 28 input."""
    channels, height, width = input_shape
    widths = (channels * height * width, 300, 100, classes)
    return keras_initialise(nn.Sequential(OrderedDict({"flatten": nn.Flatten()} | _dense(widths, batchnorm))))


def lenet5(input_shape: tuple[int, int, int], classes: int, batchnorm: str) -> nn.Module:
    """Two convolutions and three dense layers (LeCun et al. 1998); 61,770 weights on a 3 x 32 x 32 input."""
    channels, height, width = input_shape
    pooled = [((size - 4) // 2 - 4) // 2 for size in (height, width)]
    if min(pooled) < 1:
        raise ValueError(f"lenet5 needs an input of at least 16 x 16, not {height} x {width}")
    layers: dict[str, nn.Module] = {}
    for index, (inputs, outputs) in enumerate(((channels, 6), (6, 16)), start=1):
        layers[f"conv{index}"] = MaskedConv2d(inputs, outputs, 5)
        layers[f"conv{index}_norm"] = MaskedBatchNorm2d(outputs, **keras_normalisation(batchnorm))
        layers[f"conv{index}_relu"] = nn.ReLU()
        layers[f"conv{index}_pool"] = nn.AvgPool2d(2)
    layers["flatten"] = nn.Flatten()
    layers |= _dense((16 * pooled[0] * pooled[1], 120, 84, classes), batchnorm)
    return keras_initialise(nn.Sequential(OrderedDict(layers)))


def _dense(widths: Sequence[int], batchnorm: str) -> dict[str, nn.Module]:
    layers: dict[str, nn.Module] = {}
    last = len(widths) - 1
    for index in range(1, len(widths)):
        layers[f"fc{index}"] = MaskedLinear(widths[index - 1], widths[index])
        layers[f"fc{index}_norm"] = MaskedBatchNorm1d(widths[index], **keras_normalisation(batchnorm))
        if index < last:
            layers[f"fc{index}_relu"] = nn.ReLU()
    return layers
