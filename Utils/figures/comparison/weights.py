"""Figures `first-layers` and `kernels`: weights of compared networks as images."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from Utils.figures.comparison.images import DIVERGING, SEQUENTIAL, filled, mosaic, name_line, show, square_columns
from Utils.figures.comparison.outcome_series import study_table  # fmt: skip
from Utils.figures.look import Style, new_figure, wrapped

_SUMS = {"sum": "Sum", "absolute_sum": "Absolute sum", "count": "Count"}

_MOST_NETWORKS, _MOST_KERNEL_NETWORKS = 9, 9


def first_layers(rows: pd.DataFrame, style: Style, title: str = "", order: Sequence[str] | None = None) -> Figure:
    """Weights of the first layer at each pixel (or kernel entry), over all units and channels, per network.

    Sum, absolute sum and count; each has one scale of colours for all networks. Raises `NothingToDrawError` without a
    finished study.
    """
    table = study_table(rows, "first_layers")
    table = table.groupby(["network", "row", "column"], sort=False)[list(_SUMS)].sum().reset_index()
    names = list(table["network"].unique())[:_MOST_NETWORKS]
    height, width = table["row"].max() + 1, table["column"].max() + 1
    figure, grid = new_figure(title, len(_SUMS), len(names), (1.6 + 1.05 * len(names), 4.0))
    for line, (column, label) in zip(grid, _SUMS.items(), strict=True):
        line[0].set_ylabel(label, fontsize=8)
        largest = max(table[column].abs().max(), 1e-12)
        is_signed = column == "sum"
        look = ScalarMappable(Normalize(-largest if is_signed else 0, largest), DIVERGING if is_signed else SEQUENTIAL)
        for axes, name in zip(line, names, strict=True):
            image = filled(table[table["network"] == name], column, height, width)
            show(axes, image, norm=look.norm, cmap=look.cmap, gid=f"{name}|{column}")
        figure.colorbar(look, ax=line, shrink=0.8).ax.tick_params(labelsize=6)
    for axes, name in zip(grid[0], names, strict=True):
        axes.set_title(wrapped(name, 0.9), fontsize=7)
    return figure


def kernels(rows: pd.DataFrame, style: Style, title: str = "", order: Sequence[str] | None = None) -> Figure:
    """The kernels of a few layers with the largest absolute sums: red is positive, blue negative, white is pruned.

    A line per network, the first of each group; colours are scaled to the largest weight of a panel. Raises
    `NothingToDrawError` without a finished study.
    """
    table = study_table(rows, "kernels")
    names = list(table.groupby("group", sort=False)["network"].first())[:_MOST_KERNEL_NETWORKS]
    layers = list(table["layer"].unique())
    figure, grid = new_figure(title, len(names), len(layers), (1.2 + 2.1 * len(layers), 0.5 + 2.0 * len(names)))
    for line, name in zip(grid, names, strict=True):
        name_line(line[0], name)
        for axes, layer in zip(line, layers, strict=True):
            part = table[(table["network"] == name) & (table["layer"] == layer)]
            if len(part):
                largest = part["weight"].abs().max()
                image = _kernels(part)
                show(axes, image, cmap=DIVERGING, vmin=-largest, vmax=largest, gid=f"{name}|{layer}")
            else:
                show(axes, np.full((1, 1), np.nan))
            axes.set_facecolor("#dddddd")
    for axes, layer in zip(grid[0], layers, strict=True):
        axes.set_title(str(layer), fontsize=8)
    return figure


def _kernels(part: pd.DataFrame) -> np.ndarray:
    height, width = part[["height", "width"]].iloc[0]
    tiles = [filled(kernel, "weight", height, width) for _, kernel in part.groupby("place")]
    return mosaic(tiles, square_columns(len(tiles)))
