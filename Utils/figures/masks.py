"""Figure `masks`: weights of each input that a pruned network has left, as images."""

import textwrap
from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from Utils.config.choices import DENSE
from Utils.figures.look import NothingToDrawError, Style, level_title, new_figure, spread
from Utils.figures.series import Series, make_series
from Utils.results.summaries import read_table

_MOST_LEVELS = 4
_COLOURS = "magma"
_LABEL_WIDTH = 18


def masks(rows: pd.DataFrame, style: Style, title: str = "", order: Sequence[str] | None = None) -> Figure:
    """Number of kept (left) and effective (right) first-layer weights per input, for each pruner and target.

    For a linear first layer, pixels are inputs, summed over channels. For a convolution, they are kernel entries, one
    square per input channel. Brightness is relative to the highest kept count of the pair. The lowest sample is shown.
    """
    rows = rows[rows["pruner"] != DENSE]
    levels = spread(sorted(rows["target_compression"].unique()), _MOST_LEVELS)
    series = make_series(rows[rows["target_compression"].isin(levels)], style, order)
    columns = 2 * len(levels)
    figure, axes = new_figure(title, len(series), columns, (1.2 + 1.05 * columns, 0.7 + 1.15 * len(series)))
    drawn = 0
    for line, item in zip(axes, series, strict=True):
        line[0].set_ylabel(textwrap.fill(item.label, _LABEL_WIDTH, break_long_words=False), fontsize=7)
        for index, level in enumerate(levels):
            drawn += _draw_pair(line[2 * index : 2 * index + 2], item, level)
    if not drawn:
        raise NothingToDrawError("these runs have no inputs.csv")
    for index, level in enumerate(levels):
        level_title(axes[0, 2 * index], level)
        for offset, label in enumerate(("kept", "effective")):
            axes[-1, 2 * index + offset].set_xlabel(label, fontsize=8)
    return figure


def _draw_pair(pair: Sequence[Axes], item: Series, level: float) -> int:
    """Draw both images of one pruner and target; returns 1, or 0 if the run has no `inputs.csv`."""
    for axes in pair:
        axes.set(xticks=[], yticks=[])
        axes.grid(False)
        axes.spines[:].set_visible(False)
    runs = item.at(level).sort_values("sample")
    table = read_table(runs["folder"].iloc[0], "inputs") if len(runs) else None
    if table is None:
        return 0
    highest = max(1, int(np.nanmax(_picture(table, "kept_direct"))))
    for axes, column in zip(pair, ("kept_direct", "kept_effective"), strict=True):
        image = _picture(table, column)
        axes.imshow(np.sqrt(image), cmap=_COLOURS, vmin=0, vmax=np.sqrt(highest), interpolation="nearest", gid=column)
    return 1


def _picture(table: pd.DataFrame, column: str) -> np.ndarray:
    """The counts of a column as an image (height, width)."""
    channels, rows, columns = (int(table[axis].max()) + 1 for axis in ("channel", "row", "column"))
    maps = table[column].to_numpy().reshape(channels, rows, columns)
    if bool(table["is_kernel"].iloc[0]):
        return _tiled(maps)
    if rows == columns == 1:  # inputs that are not an image fill the smallest square
        width = int(np.ceil(np.sqrt(channels)))
        return np.pad(maps.ravel(), (0, width * -(-channels // width) - channels)).reshape(-1, width)
    return maps.sum(0)


def _tiled(maps: np.ndarray) -> np.ndarray:
    """Kernels side by side, separated by columns of nan."""
    padded = np.pad(maps.astype(float), ((0, 0), (0, 0), (0, 1)), constant_values=np.nan)
    return np.concatenate(list(padded), axis=1)[:, :-1]
