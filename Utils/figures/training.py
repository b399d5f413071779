"""Figure `training`: accuracy, loss and learning rate over the iterations of training."""

from collections.abc import Sequence
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from Utils.config.choices import DENSE
from Utils.figures.look import (
    GREY,
    MOST_PANELS,
    NothingToDrawError,
    Style,
    add_legend,
    columns_size,
    draw_band,
    grey_line,
    level_title,
    new_figure,
    spread,
)
from Utils.figures.scales import accuracy_axes
from Utils.figures.series import Series, make_series, marks
from Utils.results.summaries import read_table


def training(rows: pd.DataFrame, style: Style, title: str = "", order: Sequence[str] | None = None) -> Figure:
    """Test accuracy, test (thick) and training (thin) loss, and learning rate against iterations.

    One column per target compression, at most four, each with the dense network. Means over samples, bands from the
    lowest to the highest. Raises `NothingToDrawError` if no network was trained.
    """
    is_dense = rows["pruner"] == DENSE
    levels = spread(sorted(rows.loc[~is_dense, "target_compression"].unique()), MOST_PANELS)
    rows = rows[is_dense | rows["target_compression"].isin(levels)]
    tables = {folder: read_table(folder, "training") for folder in rows["folder"]}
    trained = {folder: table for folder, table in tables.items() if table is not None and len(table) > 1}
    if not trained:
        raise NothingToDrawError("these networks were not trained")
    size, heights = columns_size(len(levels), 4.7), {"height_ratios": [3, 3, 1.3]}
    figure, axes = new_figure(title, 3, len(levels), size, sharex=True, sharey="row", gridspec_kw=heights)
    handles: list[Any] = []
    series = make_series(rows[rows["folder"].isin(trained)], style, order)
    for column, level in zip(axes.T, levels, strict=True):
        level_title(column[0], level)
        column[2].set_xlabel("Iteration")
        column[2].xaxis.set_major_locator(MaxNLocator(3))
        for index, item in enumerate(series):
            handles += _draw_series(column, item, [trained[folder] for folder in item.at(level)["folder"]], index)
    accuracy_axes(axes[0], after_start=True)
    axes[1, 0].set(ylabel="Loss", yscale="log")
    axes[2, 0].set_ylabel("Rate")
    if any(line.get_ydata()[-1] > 0 for line in axes[2, 0].lines):
        axes[2, 0].set_yscale("log")
    add_legend(figure, [*handles, grey_line("on the test set"), grey_line("while training", linewidth=0.7, alpha=0.7)])
    return figure


def _draw_series(column: Sequence[Axes], item: Series, samples: Sequence[pd.DataFrame], index: int) -> list[Any]:
    """Draw the means over samples of one series in one column; returns the accuracy curve, nothing without samples."""
    if not samples:
        return []
    by_iteration = pd.concat(samples).groupby("iteration")
    means = by_iteration.mean()
    accuracy, loss, rate = column
    draw_band(accuracy, means.index, by_iteration["top1"], item.colour)
    places = marks(len(means), index)
    loss.plot(means.index, means["train_loss"], **item.faint(marker="", linewidth=0.7))
    loss.plot(means.index, means["test_loss"], **item.look(gid=f"{item.label}|loss", markevery=places))
    rate.plot(
        means.index, means["lr"], color=GREY, linestyle=item.linestyle, linewidth=1, drawstyle="steps-pre", gid="lr"
    )
    return accuracy.plot(means.index, means["top1"], **item.look(gid=f"{item.label}|top1", markevery=places))
