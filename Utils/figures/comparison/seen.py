"""Figures `feature-maps` and `patches`: what the same units of compared networks see."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from Utils.figures.comparison.images import SEQUENTIAL, as_colours, filled, mosaic, name_line, show, square_columns
from Utils.figures.comparison.outcome_series import study_table  # fmt: skip
from Utils.figures.look import Style, new_figure

_SIDE = 32
"""Most rows and columns to which the study averages patches."""


def feature_maps(rows: pd.DataFrame, style: Style, title: str = "", order: Sequence[str] | None = None) -> Figure:
    """Feature maps of one image: a line per network, a column per layer; matched units have the same place.

    Each map is scaled to its own largest absolute value. Raises `NothingToDrawError` without networks of convolutions.
    """
    table = study_table(rows, "feature_maps")
    names, layers = list(table["network"].unique()), list(table["layer"].unique())
    figure, grid = new_figure(title, len(names), len(layers), (1.0 + 1.7 * len(layers), 0.5 + 1.7 * len(names)))
    for line, name in zip(grid, names, strict=True):
        name_line(line[0], name)
        for axes, layer in zip(line, layers, strict=True):
            part = table[(table["network"] == name) & (table["layer"] == layer)]
            image = _input(part) if layer == "input" else _maps(part)
            show(axes, image, gid=f"{name}|{layer}", cmap=SEQUENTIAL, vmin=0, vmax=1)
    for axes, layer in zip(grid[0], layers, strict=True):
        axes.set_title(str(layer), fontsize=8)
    return figure


def patches(rows: pd.DataFrame, style: Style, title: str = "", order: Sequence[str] | None = None) -> Figure:
    """The patch of all images at which each unit is most active: a panel per layer, in it a line per network.

    Units in one column are matched, from the best match to the worst; a dead unit has no patch. Raises
    `NothingToDrawError` without a finished study.
    """
    units, pixels = study_table(rows, "patches"), study_table(rows, "patch_pixels")
    channels = [name for name in pixels.columns if name.startswith("channel_")]
    names, layers = list(units["network"].unique()), list(units["layer"].unique())
    count = units["place"].max() + 1
    size = (1.4 + 0.62 * count, 0.4 + (0.35 + 0.62 * len(names)) * len(layers))
    figure, grid = new_figure(title, len(layers), 1, size)
    for axes, layer in zip(grid[:, 0], layers, strict=True):
        part, inside = units[units["layer"] == layer], pixels[pixels["layer"] == layer]
        tiles = [_patch(part, inside, name, place, channels) for name in names for place in range(count)]
        image = mosaic(tiles, count)
        show(axes, image, gid=str(layer))
        step = (image.shape[0] + 1) / len(names)
        axes.set_yticks([(number + 0.5) * step - 1 for number in range(len(names))], names, fontsize=6)
        axes.tick_params(axis="y", length=0)
        axes.set_title(str(layer), fontsize=8)
    return figure


def _input(part: pd.DataFrame) -> np.ndarray:
    """The image itself, whose channels are units."""
    channels = [filled(unit, "activation", *_size(part)) for _, unit in part.groupby("place")]
    return as_colours(np.stack(channels, 2))


def _maps(part: pd.DataFrame) -> np.ndarray:
    """The maps of all units, each as a share of its largest absolute value."""
    largest = part.groupby("place")["activation"].transform(lambda values: values.abs().max() or 1.0)
    shares = part.assign(share=part["activation"].abs() / largest)
    tiles = [filled(unit, "share", *_size(part)) for _, unit in shares.groupby("place")]
    return mosaic(tiles, square_columns(len(tiles)))


def _size(part: pd.DataFrame) -> tuple[int, int]:
    return part["row"].max() + 1, part["column"].max() + 1


def _patch(units: pd.DataFrame, pixels: pd.DataFrame, name: str, place: int, channels: Sequence[str]) -> np.ndarray:
    """The colours (rows, columns, 3) of a patch, from 0 to 1; NaN if there is none."""
    unit = units[(units["network"] == name) & (units["place"] == place)]
    if not len(unit):
        return np.full((1, 1, 3), np.nan)
    row = unit.iloc[0]
    height, width = (min(_SIDE, row[end] - row[start]) for start, end in (("top", "bottom"), ("left", "right")))
    inside = pixels[(pixels["network"] == name) & (pixels["place"] == place)]
    return as_colours(filled(inside, channels, height, width) / 255)
