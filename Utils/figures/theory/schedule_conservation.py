"""Figure `schedule-conservation`: the largest ratio of pruned scores to the flow against the number of rounds."""

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.figure import Figure

from Utils.figures.look import (
    GREY,
    NothingToDrawError,
    Style,
    add_legend,
    columns_size,
    draw_band,
    grey_line,
    new_figure,
)
from Utils.figures.scales import log_axis
from Utils.figures.series import Series, make_series

_AXES = re.compile(r"(?:^| )--(?:prune_iterations|schedule)=\S+")
"""Settings that the axes and the panels show."""
_COLOURS, _BRIGHTEST = "viridis", 0.9
_MARGIN = 1.5
"""Factor by which axes extend beyond their points."""


def schedule_conservation(
    rows: pd.DataFrame, style: Style, title: str = "", order: Sequence[str] | None = None
) -> Figure:
    """Largest ratio of pruned scores to the flow against the number of rounds, log-log; one panel per schedule.

    A line per compression: means over samples, bands from the lowest to the highest. Below the dashed line no round can
    empty a layer. A single round is the same in each schedule. Raises `NothingToDrawError` if no run has ratios.
    """
    if "max_ratio" not in rows or rows["max_ratio"].isna().all():
        raise NothingToDrawError("their rounds were not compared with the flow")
    rows = rows.dropna(subset="max_ratio")
    rows = rows.assign(settings=[_AXES.sub("", text) for text in rows["settings"]])
    is_single = rows["prune_iterations"] == 1
    schedules = sorted(rows.loc[~is_single, "schedule"].unique()) or ["one round"]
    figure, axes = new_figure(title, 1, len(schedules), columns_size(len(schedules), 2.8), sharey=True)
    colours = _colours(sorted(rows["target_compression"].unique()))
    handles: list[Any] = []
    for axis, schedule in zip(axes[0], schedules, strict=True):
        part = rows[is_single | (rows["schedule"] == schedule)]
        for item in make_series(part, style, order):
            for level, runs in item.levels():
                ratios = runs.groupby("prune_iterations")["max_ratio"]
                draw_band(axis, ratios.mean().index, ratios, colours[level])
                place = {"label": _label(item, level), "gid": f"{schedule}|{item.label}|{level:g}"}
                handles += axis.plot(ratios.mean().index, ratios.mean(), **item.look(color=colours[level], **place))
        axis.set_title(schedule.capitalize(), fontsize=8)
        axis.set_xlabel("Rounds of pruning")
        log_axis(axis, "x", rows["prune_iterations"].min() / _MARGIN, rows["prune_iterations"].max() * _MARGIN)
        axis.axhline(1, color=GREY, linestyle="--", linewidth=1, gid="cut")
    ends = [1, *rows["max_ratio"]]
    log_axis(axes[0, 0], "y", np.min(ends) / _MARGIN, np.max(ends) * _MARGIN)
    axes[0, 0].set_ylabel("Largest pruned score / cut")
    add_legend(figure, [*handles, grey_line("score of a cut", linestyle="--", linewidth=1)])
    return figure


def _colours(levels: Sequence[float]) -> dict[float, Any]:
    """A colour for each compression, the darker the lower."""
    return dict(zip(levels, colormaps[_COLOURS](np.linspace(0, _BRIGHTEST, len(levels))), strict=True))


def _label(item: Series, level: float) -> str:
    """Compression, and what tells the series from others."""
    variant = item.label if "=" in item.label else ""
    return ", ".join(filter(None, (f"compression {level:.4g}x", variant)))
