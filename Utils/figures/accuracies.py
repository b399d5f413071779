"""Figure `accuracies`: top-1 against effective and direct compression."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from Utils.config.choices import DENSE
from Utils.figures.collapse import geometric_mean, mark_collapse
from Utils.figures.look import BAND, Style, add_legend, grey_line, new_figure
from Utils.figures.scales import accuracy_axes, chance_level, log_axis
from Utils.figures.series import Series, check_points, make_series

_MARGIN = 1.25
"""Factor by which the axis extends beyond its points."""


def accuracies(rows: pd.DataFrame, style: Style, title: str = "", order: Sequence[str] | None = None) -> Figure:
    """Top-1 against effective (solid) and direct (dashed) compression: means over samples, bands from min to max.

    A collapsed network counts as chance level, with a mark at its target compression. Raises `LonelyPointError` if
    there is a single point.
    """
    series = make_series(rows, style, order)
    check_points(series, "top1", 3)
    figure, ((axes,),) = new_figure(title)
    chance = chance_level(rows)
    handles: list[Any] = []
    for index, item in enumerate(series):
        is_dense = item.name == DENSE
        handles.append(_draw_dense(axes, item) if is_dense else _draw_accuracy(axes, item, chance, index))
    axes.set_xlabel("Compression")
    points = np.concatenate([line.get_xdata() for line in axes.lines if line.get_gid() not in _dense(series)])
    log_axis(axes, "x", points.min() / _MARGIN, points.max() * _MARGIN)
    handles += [grey_line("against effective"), grey_line("against direct", linestyle="--")]
    handles += accuracy_axes([axes], chance)
    if rows["collapsed"].any():
        handles.append(grey_line("collapsed", linestyle="", marker="X", markersize=6))
    add_legend(figure, handles)
    return figure


def _dense(series: Sequence[Series]) -> set[str]:
    """The labels of dense networks."""
    return {item.label for item in series if item.name == DENSE}


def _draw_dense(axes: Axes, item: Series) -> Any:
    """Draw the dense network as a horizontal line with a band; returns the line."""
    top1 = item.rows["top1"]
    axes.axhspan(top1.min(), top1.max(), color=item.colour, alpha=BAND, linewidth=0)
    return axes.axhline(top1.mean(), **item.look(linewidth=1.1, gid=item.label))


def _draw_accuracy(axes: Axes, item: Series, chance: float, index: int) -> Any:
    """Draw both curves of a pruner; returns the solid line, for the legend."""
    against_effective, against_direct = [], []
    for target, level in item.levels():
        top1 = level["top1"].where(~level["collapsed"].astype(bool), chance)
        finite = level["effective_compression"].replace(np.inf, np.nan).dropna()
        spread = (top1.mean(), top1.min(), top1.max())
        against_effective.append((geometric_mean(finite) if len(finite) else target, *spread))
        against_direct.append((geometric_mean(level["direct_compression"]), *spread))
        if level["collapsed"].any():
            mark_collapse(axes, target, chance, item.colour, index)
    solid, dashed = np.array(sorted(against_effective)), np.array(against_direct)
    axes.fill_between(solid[:, 0], solid[:, 2], solid[:, 3], color=item.colour, alpha=BAND, linewidth=0)
    axes.plot(dashed[:, 0], dashed[:, 1], **item.faint(linestyle="--", gid=f"{item.label}|direct"))
    (line,) = axes.plot(solid[:, 0], solid[:, 1], **item.look(linestyle="-", gid=f"{item.label}|effective"))
    return line
