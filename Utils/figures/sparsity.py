"""Figure `sparsity`: density and accuracy while a network is pruned during training."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from Utils.config.choices import DENSE
from Utils.figures.look import NothingToDrawError, Style, add_legend, level_title, new_figure, spread
from Utils.figures.series import Series, make_series
from Utils.figures.variants import MOST_PANELS, coloured
from Utils.results.summaries import read_table


def sparsity(rows: pd.DataFrame, style: Style, title: str = "", order: Sequence[str] | None = None) -> Figure:
    """Density of the masks and test accuracy against iterations, a column for each target, at most four.

    Of the lowest sample, as cycles of different samples would blur.
    """
    rows = rows[rows["pruner"] != DENSE]
    levels = spread(sorted(rows["target_compression"].unique()), MOST_PANELS)
    figure, axes = new_figure(title, 2, len(levels), (1.6 + 2.7 * len(levels), 4.2), sharex=True, sharey="row")
    handles: list[Any] = []
    for column, level in zip(axes.T, levels, strict=True):
        level_title(column[0], level)
        column[1].set_xlabel("Iteration")
        column[1].xaxis.set_major_locator(MaxNLocator(4))
        for item, colour in coloured(make_series(rows, style, order)):
            handles += _draw_course(column, item, level, colour)
    if not handles:
        raise NothingToDrawError("these networks were not pruned while they trained")
    axes[0, 0].set_ylabel("Density")
    axes[0, 0].set_yscale("log")
    axes[1, 0].set_ylabel("Top-1 accuracy")
    add_legend(figure, handles)
    return figure


def _draw_course(column: Sequence[Axes], item: Series, level: float, colour: str) -> list[Any]:
    runs = item.at(level).sort_values("sample")
    table = read_table(runs["folder"].iloc[0], "sparsity") if len(runs) else None
    if table is None:
        return []
    training = read_table(runs["folder"].iloc[0], "training")
    last = training["iteration"].max() if training is not None else table["iteration"].max()
    steps = np.array([0, *table["iteration"], last])
    densities = np.array([1.0, *(1 - table["direct_sparsity"]), 1 - table["direct_sparsity"].iloc[-1]])
    handles = column[0].step(
        steps, densities, where="post", color=colour, linewidth=1, label=item.label, gid=f"{item.label}|density"
    )
    if training is not None:
        column[1].plot(training["iteration"], training["top1"], color=colour, gid=f"{item.label}|top1")
    return handles
