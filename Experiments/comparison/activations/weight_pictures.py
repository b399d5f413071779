"""Tables of weights as images: the first layer summed over its units, and single kernels."""

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd

from Experiments.comparison.networks import Layer, Network
from Experiments.comparison.pairs import spread_over

_MOST_LAYERS, _MOST_KERNELS, _MOST_ENTRIES = 3, 20, 8192
"""Most layers whose kernels are shown, and most kernels of each and entries of these."""

_DIGITS = 4


def weight_tables(networks: Sequence[Network]) -> dict[str, pd.DataFrame]:
    """The effective weights of networks as images; `network`, `group`, `sample`, `layer` begin each row.

    `first_layers`: a row per input of the first masked layer: `sum`, `absolute_sum` and `count` of the weights of all
    units at `channel`, `row`, `column` of the image, or of the kernel of a convolution.

    `kernels`: the nonzero entries (`row`, `column`, `weight`, to four digits) of the kernels with the largest absolute
    sums, at most 20 (fewer of large ones) of each of at most 3 layers, at rising `place`. A kernel is what a `unit`
    applies to one `channel` of its input: of the first layer and of convolutions. `height` and `width` are its size.
    """
    first, kernels = [], []
    for network in networks:
        images = {layer.name: _as_images(layer, network.input_shape) for layer in network.layers}
        names = list(images)
        first.append(_named(network, names[0], _sums(images[names[0]])))
        chosen = [layer.name for layer in network.layers if layer.is_convolution or layer.name == names[0]]
        kernels += [_named(network, name, _kernels(images[name])) for name in spread_over(chosen, _MOST_LAYERS)]
    return {"first_layers": pd.concat(first, ignore_index=True), "kernels": pd.concat(kernels, ignore_index=True)}


def _as_images(layer: Layer, input_shape: tuple[int, ...]) -> np.ndarray:
    """Weights (units, channels, rows, columns); those of dense layers that do not read the image are a single row."""
    if layer.is_convolution:
        return layer.weights
    units, inputs = layer.weights.shape
    shape = input_shape if len(input_shape) == 3 and inputs == np.prod(input_shape) else (1, 1, inputs)
    return layer.weights.reshape(units, *shape)


def _sums(images: np.ndarray) -> pd.DataFrame:
    channel, row, column = np.indices(images.shape[1:]).reshape(3, -1)
    sums = {"sum": images.sum(0), "absolute_sum": np.abs(images).sum(0), "count": (images != 0).sum(0)}
    places = {"channel": channel, "row": row, "column": column}
    return pd.DataFrame(places | {name: values.ravel() for name, values in sums.items()}).round(_DIGITS)


def _kernels(images: np.ndarray) -> pd.DataFrame:
    strength = np.abs(images).sum((2, 3))
    most = min(_MOST_KERNELS, max(1, _MOST_ENTRIES // math.prod(images.shape[2:])))
    order = np.argsort(-strength, axis=None, kind="stable")[:most]
    units, channels = np.unravel_index(order, strength.shape)
    place, row, column = np.nonzero(images[units, channels])
    size = {"height": images.shape[2], "width": images.shape[3]}
    entries = {"row": row, "column": column, "weight": images[units[place], channels[place], row, column]}
    return pd.DataFrame({"place": place, "unit": units[place], "channel": channels[place]} | size | entries).round(
        _DIGITS
    )


def _named(network: Network, layer: str, table: pd.DataFrame) -> pd.DataFrame:
    return pd.DataFrame({**network.columns, "layer": layer}, index=table.index).join(table)
