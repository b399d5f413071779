"""Figure `compressions`: effective against target compression."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from Utils.config.choices import DENSE
from Utils.figures.collapse import geometric_mean, mark_collapse
from Utils.figures.look import BAND, GREY, Style, add_legend, grey_line, new_figure
from Utils.figures.series import make_series

_MARGIN = 1.5
"""Factor by which the axis extends beyond its points, so that a single point has an axis around it."""


def compressions(rows: pd.DataFrame, style: Style, title: str = "", order: Sequence[str] | None = None) -> Figure:
    """Effective against target compression on logarithmic axes; collapsed networks are marked at the upper edge."""
    figure, ((axes,),) = new_figure(title)
    handles: list[Any] = []
    collapsed: list[tuple[float, str, int]] = []
    for index, item in enumerate(make_series(rows, style, order)):
        if item.name == DENSE:
            continue
        points = []
        for target, level in item.levels():
            finite = level["effective_compression"].replace(np.inf, np.nan).dropna()
            if len(finite) < len(level):
                collapsed.append((target, item.colour, index))
            if len(finite):
                points.append((target, geometric_mean(finite), finite.min(), finite.max()))
        table = np.array(points).reshape(-1, 4)
        axes.fill_between(table[:, 0], table[:, 2], table[:, 3], color=item.colour, alpha=BAND, linewidth=0)
        handles += axes.plot(
            table[:, 0], table[:, 1], color=item.colour, marker=item.marker, label=item.label,
            gid=f"{item.label}|effective",
        )  # fmt: skip
    axes.set(xlabel="Target compression", ylabel="Effective compression")
    pruned = rows[rows["pruner"] != DENSE]
    ends = [pruned["target_compression"].min() / _MARGIN, pruned["target_compression"].max() * _MARGIN]
    handles += axes.plot(ends, ends, color=GREY, linestyle=":", linewidth=1, label="effective = target", zorder=5)
    axes.set(xscale="log", yscale="log", xlim=ends)
    if collapsed:
        top = axes.get_ylim()[1]
        for target, colour, index in collapsed:
            mark_collapse(axes, target, top, colour, index)
        axes.set_ylim(top=top * 2)
        handles.append(grey_line("collapsed (infinite)", linestyle="", marker="X", markersize=6))
    add_legend(figure, handles)
    return figure
