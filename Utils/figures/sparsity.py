"""Figure `sparsity`: density and accuracy of a network that is pruned during training."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from Utils.figures.look import MOST_PANELS, Style, add_legend, level_title, new_figure, spread
from Utils.figures.scales import accuracy_axes
from Utils.figures.series import Series, make_series, marks, rows_with
from Utils.results.summaries import read_table


def sparsity(rows: pd.DataFrame, style: Style, title: str = "", order: Sequence[str] | None = None) -> Figure:
    """Density of the masks (top) and test accuracy (bottom) against iterations; one column per target, at most four.

    Only the lowest sample is shown, because a mean would blur the cycles of different samples. Raises
    `NothingToDrawError` if no run has `sparsity.csv`.
    """
    rows = rows_with(rows, "sparsity", "these networks were not pruned while they trained")
    levels = spread(sorted(rows["target_compression"].unique()), MOST_PANELS)
    figure, axes = new_figure(title, 2, len(levels), (1.6 + 2.7 * len(levels), 4.2), sharex=True, sharey="row")
    handles: list[Any] = []
    series = make_series(rows, style, order)
    for column, level in zip(axes.T, levels, strict=True):
        level_title(column[0], level)
        column[1].set_xlabel("Iteration")
        column[1].xaxis.set_major_locator(MaxNLocator(4))
        for index, item in enumerate(series):
            handles += _draw_series(column, item, level, index)
    axes[0, 0].set_ylabel("Density")
    axes[0, 0].set_yscale("log")
    accuracy_axes(axes[1], after_start=True)
    add_legend(figure, handles)
    return figure


def _draw_series(column: Sequence[Axes], item: Series, level: float, index: int) -> list[Any]:
    """Draw one series in one column; returns the density curve, nothing if the series has no run of this target."""
    runs = item.at(level).sort_values("sample")
    table = read_table(runs["folder"].iloc[0], "sparsity") if len(runs) else None
    if table is None:
        return []
    training = read_table(runs["folder"].iloc[0], "training")
    last = training["iteration"].max() if training is not None else table["iteration"].max()
    steps = np.array([*table["iteration"], last])
    densities = 1 - np.array([*table["direct_sparsity"], table["direct_sparsity"].iloc[-1]])
    look = item.look(linewidth=1, markevery=marks(len(steps), index), gid=f"{item.label}|density")
    handles = column[0].step(steps, densities, where="post", **look)
    if training is not None:
        look = item.look(markevery=marks(len(training), index), gid=f"{item.label}|top1")
        column[1].plot(training["iteration"], training["top1"], **look)
    return handles
