"""Figure `compressions`: effective against target compression."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from Utils.config.choices import DENSE
from Utils.figures.collapse import geometric_mean, mark_collapse
from Utils.figures.look import BAND, GREY, Style, add_legend, grey_line, new_figure
from Utils.figures.scales import log_axis
from Utils.figures.series import check_points, make_series

_MARGIN = 1.5
"""Factor by which the axes extend beyond their points."""


def compressions(rows: pd.DataFrame, style: Style, title: str = "", order: Sequence[str] | None = None) -> Figure:
    """Effective against target compression on logarithmic axes; collapsed networks are marked at the upper edge.

    Raises `LonelyPointError` if there is a single point.
    """
    pruned = rows[rows["pruner"] != DENSE]
    series = make_series(pruned, style, order)
    check_points(series, "effective_compression", 2)
    figure, ((axes,),) = new_figure(title)
    handles: list[Any] = []
    collapsed: list[tuple[float, str, int]] = []
    targets = pruned["target_compression"]
    ends = log_axis(axes, "x", targets.min() / _MARGIN, targets.max() * _MARGIN)
    top = ends[1]
    for index, item in enumerate(series):
        points = []
        for target, level in item.levels():
            finite = level["effective_compression"].replace(np.inf, np.nan).dropna()
            if len(finite) < len(level):
                collapsed.append((target, item.colour, index))
            if len(finite):
                points.append((target, geometric_mean(finite), finite.min(), finite.max()))
        table = np.array(points).reshape(-1, 4)
        top = max(top, table[:, 3].max(initial=0) * _MARGIN)
        axes.fill_between(table[:, 0], table[:, 2], table[:, 3], color=item.colour, alpha=BAND, linewidth=0)
        handles += axes.plot(table[:, 0], table[:, 1], **item.look(gid=f"{item.label}|effective"))
    axes.set(xlabel="Target compression", ylabel="Effective compression")
    handles += axes.plot(ends, ends, color=GREY, linestyle=":", linewidth=1, label="effective = target", zorder=1)
    for target, colour, index in collapsed:
        mark_collapse(axes, target, top, colour, index)
    if collapsed:
        handles.append(grey_line("collapsed (infinite)", linestyle="", marker="X", markersize=6))
    log_axis(axes, "y", ends[0], top * (_MARGIN if collapsed else 1))
    add_legend(figure, handles)
    return figure
