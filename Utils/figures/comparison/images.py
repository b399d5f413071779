"""Images of the figures of comparisons: tiles in a grid and panels without axes."""

import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.image import AxesImage

DIVERGING, SEQUENTIAL = "RdBu_r", "viridis"

GAP = 1
"""Pixels between tiles."""

_NAME_WIDTH = 18


def filled(table: pd.DataFrame, values: str | Sequence[str], height: int, width: int) -> np.ndarray:
    """Values at `row` and `column` of an image (height, width), or (height, width, columns); 0 elsewhere."""
    image = np.zeros((height, width) if isinstance(values, str) else (height, width, len(values)))
    image[table["row"], table["column"]] = table[values if isinstance(values, str) else list(values)].to_numpy()
    return image


def mosaic(tiles: Sequence[np.ndarray], columns: int) -> np.ndarray:
    """Tiles, smaller ones centred, in rows of a grid; NaN between and around them."""
    height, width = (max(tile.shape[axis] for tile in tiles) for axis in (0, 1))
    lines = -(-len(tiles) // columns)
    size = lines * (height + GAP) - GAP, columns * (width + GAP) - GAP
    image = np.full((*size, *tiles[0].shape[2:]), np.nan)
    for number, tile in enumerate(tiles):
        top = number // columns * (height + GAP) + (height - tile.shape[0]) // 2
        left = number % columns * (width + GAP) + (width - tile.shape[1]) // 2
        image[top : top + tile.shape[0], left : left + tile.shape[1]] = tile
    return image


def square_columns(count: int) -> int:
    """Number of columns of a nearly square grid."""
    return int(np.ceil(np.sqrt(count)))


def show(axes: Axes, image: np.ndarray, **look: Any) -> AxesImage:
    """Draw an image without axes; NaN is white."""
    axes.set(xticks=[], yticks=[])
    axes.grid(False)
    axes.spines[:].set_visible(False)
    if image.ndim == 3:
        image = np.where(np.isnan(image), 1.0, image)
    return axes.imshow(image, interpolation="nearest", **look)


def as_colours(image: np.ndarray) -> np.ndarray:
    """An image (rows, columns, channels) with red, green and blue; other numbers of channels are averaged to grey."""
    return image if image.shape[2] == 3 else np.repeat(image.mean(2, keepdims=True), 3, 2)


def name_line(axes: Axes, name: str) -> None:
    """Write a name at the left of a line of panels."""
    axes.set_ylabel(textwrap.fill(name, _NAME_WIDTH), fontsize=7)
