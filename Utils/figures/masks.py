"""Figure `masks`: weights of each input that a pruned network has left, as images."""

import textwrap
from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.cm import ScalarMappable
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from Utils.figures.look import MOST_PANELS, Style, level_title, new_figure, spread
from Utils.figures.series import make_series, rows_with
from Utils.results.summaries import read_table

_COLOURS = "magma"
_LABEL_WIDTH = 18


def masks(rows: pd.DataFrame, style: Style, title: str = "", order: Sequence[str] | None = None) -> Figure:
    """Number of kept (left) and effective (right) first-layer weights per input, for each pruner and target.

    For a linear first layer, pixels are inputs, summed over channels. For a convolution, they are kernel entries, one
    square per input channel. Colours are of cube roots, and all networks of a target share them. The lowest sample is
    shown. Raises `NothingToDrawError` if no run has `inputs.csv`.
    """
    rows = rows_with(rows, "inputs", "these runs have no inputs.csv")
    levels = spread(sorted(rows["target_compression"].unique()), MOST_PANELS)
    series = make_series(rows[rows["target_compression"].isin(levels)], style, order)
    columns = 2 * len(levels)
    figure, axes = new_figure(title, len(series), columns, (1.2 + 1.05 * columns, 1.3 + 1.15 * len(series)))
    for line, item in zip(axes, series, strict=True):
        line[0].set_ylabel(textwrap.fill(item.label, _LABEL_WIDTH, break_long_words=False), fontsize=7)
    for index, level in enumerate(levels):
        pairs = axes[:, 2 * index : 2 * index + 2]
        tables = [_table(item.at(level)) for item in series]
        _draw_pairs(figure, pairs, tables)
        level_title(pairs[0, 0], level)
    return figure


def _table(runs: pd.DataFrame) -> pd.DataFrame | None:
    """The table `inputs` of the lowest sample; None without runs."""
    return read_table(runs.sort_values("sample")["folder"].iloc[0], "inputs") if len(runs) else None


def _draw_pairs(figure: Figure, pairs: np.ndarray, tables: Sequence[pd.DataFrame | None]) -> None:
    """Draw both images (pruners, 2) of each pruner at one target, with their colour bar."""
    highest = max(1.0, *(float(np.nanmax(_picture(table, "kept_direct"))) for table in tables if table is not None))
    colours = PowerNorm(1 / 3, 0, highest)
    for pair, table in zip(pairs, tables, strict=True):
        for axes, column in zip(pair, ("kept_direct", "kept_effective"), strict=True):
            axes.set(xticks=[], yticks=[])
            axes.grid(False)
            axes.spines[:].set_visible(False)
            if table is not None:
                image = _picture(table, column)
                axes.imshow(image, cmap=_COLOURS, norm=colours, interpolation="nearest", gid=column)
    for axes, label in zip(pairs[-1], ("kept", "effective"), strict=True):
        axes.set_xlabel(label, fontsize=8)
    is_kernel = any(bool(table["is_kernel"].iloc[0]) for table in tables if table is not None)
    bar = figure.colorbar(
        ScalarMappable(colours, _COLOURS), ax=list(pairs.flat), location="bottom", aspect=25, shrink=0.9, pad=0.02
    )
    bar.set_label(f"weights left per {'kernel entry' if is_kernel else 'input'}", fontsize=8)
    bar.ax.tick_params(labelsize=7)
    bar.locator = MaxNLocator(4, integer=True)
    bar.update_ticks()


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
