"""Figure `training`: accuracy, loss and learning rate over the iterations of training."""

from collections.abc import Sequence
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from Utils.config.choices import DENSE
from Utils.figures.look import (
    BAND,
    GREY,
    MOST_PANELS,
    NothingToDrawError,
    Style,
    add_legend,
    grey_line,
    level_title,
    new_figure,
    spread,
)
from Utils.figures.series import Series, make_series
from Utils.results.summaries import read_table

_SMALLEST_BAND = 2
"""Number of samples from which on a band is drawn."""


def training(rows: pd.DataFrame, style: Style, title: str = "", order: Sequence[str] | None = None) -> Figure:
    """Test accuracy, test (solid) and training (dashed) loss, and learning rate against iterations.

    One column per target compression, at most four, each with the dense network. Means over samples, bands from the
    lowest to the highest. Raises `NothingToDrawError` if no network was trained.
    """
    is_dense = rows["pruner"] == DENSE
    levels = spread(sorted(rows.loc[~is_dense, "target_compression"].unique()), MOST_PANELS)
    size = (1.2 + 2.3 * len(levels), 5.2) if len(levels) > 1 else (4.6, 5.2)
    figure, axes = new_figure(
        title, 3, len(levels), size, sharex=True, sharey="row", gridspec_kw={"height_ratios": [3, 3, 1.3]}
    )
    handles: list[Any] = []
    series = make_series(rows, style, order)
    for column, level in zip(axes.T, levels, strict=True):
        level_title(column[0], level)
        column[2].set_xlabel("Iteration")
        column[2].xaxis.set_major_locator(MaxNLocator(3))
        for item in series:
            handles += _draw_series(column, item, level)
    if not handles:
        raise NothingToDrawError("these networks were not trained")
    for axis, label in zip(axes[:, 0], ("Top-1 accuracy", "Loss", "Rate"), strict=True):
        axis.set_ylabel(label)
    axes[1, 0].set_yscale("log")
    if any(line.get_ydata()[-1] > 0 for line in axes[2, 0].lines):
        axes[2, 0].set_yscale("log")
    add_legend(figure, [*handles, grey_line("on the test set"), grey_line("while training", linestyle="--")])
    return figure


def _draw_series(column: Sequence[Axes], item: Series, level: float) -> list[Any]:
    """Draw the means over samples of one series in one column; returns the accuracy curve, nothing if not trained."""
    tables = [read_table(folder, "training") for folder in item.at(level)["folder"]]
    trained = [table for table in tables if table is not None and len(table) > 1]
    if not trained:
        return []
    by_iteration = pd.concat(trained).groupby("iteration")
    means = by_iteration.mean()
    accuracy, loss, rate = column
    if len(trained) >= _SMALLEST_BAND:
        top1 = by_iteration["top1"]
        accuracy.fill_between(means.index, top1.min(), top1.max(), color=item.colour, alpha=BAND, linewidth=0)
    loss.plot(means.index, means["train_loss"], color=item.colour, linestyle="--", linewidth=1)
    loss.plot(means.index, means["test_loss"], color=item.colour, gid=f"{item.label}|loss")
    rate.plot(means.index, means["lr"], color=GREY, drawstyle="steps-pre", gid="lr")
    return accuracy.plot(
        means.index, means["top1"], color=item.colour, label=item.label, gid=f"{item.label}|top1",
        linestyle="-." if item.name == DENSE else "-",
    )  # fmt: skip
