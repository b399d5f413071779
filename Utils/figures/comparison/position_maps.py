"""Figures `input-maps` and `kernel-maps`: where the weights of the first layer, and those of kernels, are."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from Utils.figures.comparison.images import DIVERGING, SEQUENTIAL, filled, name_line, show
from Utils.figures.comparison.outcome_series import looks_of, study_table
from Utils.figures.look import Style, new_figure, spread

_MOST_LAYERS = 6

_CELL = ["channel", "row", "column"]

_INPUT_MAPS = {"number": "Weights", "excess": "Positive - negative"}


def input_maps(rows: pd.DataFrame, style: Style, title: str = "", order: Sequence[str] | None = None) -> Figure:
    """Weights of the first layer by input: their number, and positive minus negative ones, means over samples.

    A row for each group; one scale of colours for all groups, and maps of each channel side by side. Raises
    `NothingToDrawError` if no study has `input_counts.csv`.
    """
    table = study_table(rows, "input_counts", "no study has analysed the structure of masks")
    table = table.assign(number=table["positive"] + table["negative"], excess=table["positive"] - table["negative"])
    means = table.groupby(["group", *_CELL], sort=False)[list(_INPUT_MAPS)].mean().reset_index()
    groups, channels = looks_of(rows, means["group"]), int(means["channel"].max()) + 1
    size = (1.4 + 1.15 * 2 * channels, 0.8 + 1.15 * len(groups))
    figure, grid = new_figure(title, len(groups), 2 * channels, size)
    looks = {"number": _look(means["number"]), "excess": _look(means["excess"], is_signed=True)}
    for line, group in zip(grid, groups, strict=True):
        name_line(line[0], group)
        for number, axes in enumerate(line):
            column, channel = list(_INPUT_MAPS)[number // channels], number % channels
            part = means[(means["group"] == group) & (means["channel"] == channel)]
            _draw(axes, part, column, looks[column], f"{group}|{column}|{channel}")
    for number, (column, label) in enumerate(_INPUT_MAPS.items()):
        panels = grid[:, number * channels : (number + 1) * channels]
        _add_bar(figure, looks[column], panels, label)
    return figure


def kernel_maps(rows: pd.DataFrame, style: Style, title: str = "", order: Sequence[str] | None = None) -> Figure:
    """Weights at each cell of the kernels of a layer, as a multiple of the expectation of random positions.

    Means over samples, a row for each group and at most six layers. Raises `NothingToDrawError` if no study has
    `kernel_counts.csv`.
    """
    table = study_table(rows, "kernel_counts", "no study has compared networks with convolutions")
    cells = table.groupby("layer")["row"].transform("max") + table.groupby("layer")["column"].transform("max")
    table = table[cells > 0]  # a kernel of one cell is no map
    table = table.assign(ratio=(table["positive"] + table["negative"]) / table["expected"].where(table["expected"] > 0))
    means = table.groupby(["group", "layer", "row", "column"], sort=False)["ratio"].mean().reset_index()
    groups, layers = looks_of(rows, means["group"]), list(dict.fromkeys(means["layer"]))
    layers = [layers[int(place)] for place in spread(range(len(layers)), _MOST_LAYERS)]
    size = (1.4 + 1.0 * len(layers), 0.8 + 1.05 * len(groups))
    figure, grid = new_figure(title, len(groups), len(layers), size)
    distance = max(0.1, min(1.0, (means["ratio"] - 1).abs().max()))
    look = ScalarMappable(Normalize(1 - distance, 1 + distance), DIVERGING)
    for line, group in zip(grid, groups, strict=True):
        name_line(line[0], group)
        for axes, layer in zip(line, layers, strict=True):
            _draw(axes, means[(means["group"] == group) & (means["layer"] == layer)], "ratio", look, f"{group}|{layer}")
    for axes, layer in zip(grid[0], layers, strict=True):
        axes.set_title(str(layer), fontsize=7)
    _add_bar(figure, look, grid, "Weights / expected", "max" if means["ratio"].max() > 2 else "neither")
    return figure


def _look(values: pd.Series, is_signed: bool = False) -> ScalarMappable:
    largest = max(values.abs().max(), 1e-12)
    return ScalarMappable(Normalize(-largest if is_signed else 0, largest), DIVERGING if is_signed else SEQUENTIAL)


def _draw(axes: Axes, part: pd.DataFrame, column: str, look: ScalarMappable, gid: str) -> None:
    image = filled(part, column, part["row"].max() + 1, part["column"].max() + 1)
    show(axes, image, norm=look.norm, cmap=look.cmap, gid=gid)


def _add_bar(figure: Figure, look: ScalarMappable, panels: np.ndarray, label: str, extend: str = "neither") -> None:
    place = {"ax": list(panels.flat), "location": "bottom", "aspect": 22, "shrink": 0.9, "pad": 0.02}
    bar = figure.colorbar(look, **place, extend=extend)
    bar.set_label(label, fontsize=8)
    bar.ax.tick_params(labelsize=7)
