"""Which inputs does a pruned network still look at?"""

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
    """For each pruner and target, the first layer's weights of each input: how many are kept (left), effective (right).

    A dense first layer shows the image, its channels added up; a convolution its kernel's entries, one square per input
    channel. Brightness is relative to the most kept weights in either picture of a pair. The lowest sample is shown.
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
        for place, word in enumerate(("kept", "effective")):
            axes[-1, 2 * index + place].set_xlabel(word, fontsize=8)
    return figure


def _draw_pair(pair: Sequence[Axes], item: Series, level: float) -> int:
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
    channels, rows, columns = (int(table[axis].max()) + 1 for axis in ("channel", "row", "column"))
    maps = table[column].to_numpy().reshape(channels, rows, columns)
    if bool(table["is_kernel"].iloc[0]):
        return _tiled(maps)
    if rows == columns == 1:  # inputs that are no image, as a square as near as there is
        width = int(np.ceil(np.sqrt(channels)))
        return np.pad(maps.ravel(), (0, width * -(-channels // width) - channels)).reshape(-1, width)
    return maps.sum(0)


def _tiled(maps: np.ndarray) -> np.ndarray:
    """Kernels side by side, with a gap between them."""
    framed = np.pad(maps.astype(float), ((0, 0), (0, 0), (0, 1)), constant_values=np.nan)
    return np.concatenate(list(framed), axis=1)[:, :-1]
