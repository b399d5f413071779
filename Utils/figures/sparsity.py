"""Figure `sparsity`: density and accuracy of a network that is pruned during training."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from Utils.config.choices import DENSE
from Utils.figures.look import MOST_PANELS, NothingToDrawError, Style, add_legend, level_title, new_figure, spread
from Utils.figures.series import Series, make_series
from Utils.figures.variants import coloured
from Utils.results.summaries import read_table


def sparsity(rows: pd.DataFrame, style: Style, title: str = "", order: Sequence[str] | None = None) -> Figure:
    """Density of the masks (top) and test accuracy (bottom) against iterations; one column per target, at most four.

    Only the lowest sample is shown, because a mean would blur the cycles of different samples. Raises
    `NothingToDrawError` if no run has `sparsity.csv`.
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
            handles += _draw_series(column, item, level, colour)
    if not handles:
        raise NothingToDrawError("these networks were not pruned while they trained")
    axes[0, 0].set_ylabel("Density")
    axes[0, 0].set_yscale("log")
    axes[1, 0].set_ylabel("Top-1 accuracy")
    add_legend(figure, handles)
    return figure


def _draw_series(column: Sequence[Axes], item: Series, level: float, colour: str) -> list[Any]:
    """Draw one series in one column; returns the density curve, nothing if the run has no `sparsity.csv`."""
    runs = item.at(level).sort_values("sample")
    table = read_table(runs["folder"].iloc[0], "sparsity") if len(runs) else None
    if table is None:
        return []
    training = read_table(runs["folder"].iloc[0], "training")
    last = training["iteration"].max() if training is not None else table["iteration"].max()
    steps = np.array([*table["iteration"], last])
    densities = 1 - np.array([*table["direct_sparsity"], table["direct_sparsity"].iloc[-1]])
    handles = column[0].step(
        steps, densities, where="post", color=colour, linewidth=1, label=item.label, gid=f"{item.label}|density"
    )
    if training is not None:
        column[1].plot(training["iteration"], training["top1"], color=colour, gid=f"{item.label}|top1")
    return handles
