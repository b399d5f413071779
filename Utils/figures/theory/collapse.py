"""Figure `collapse`: accuracy against direct compression, up to the maximal compression that leaves no layer empty."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from Utils.figures.collapse import geometric_mean
from Utils.figures.look import BAND, RED, Style, add_legend, grey_line, new_figure
from Utils.figures.scales import accuracy_axes, chance_level, log_axis
from Utils.figures.series import Series, check_points, make_series, rows_with
from Utils.results.summaries import read_table

_MARGIN = 1.5
"""Factor by which the axis extends beyond its points."""


def collapse(rows: pd.DataFrame, style: Style, title: str = "", order: Sequence[str] | None = None) -> Figure:
    """Top-1 against direct compression: means over samples, bands from min to max, as in Tanaka et al. 2020.

    A ring is the first compression at which a network has a layer without effective weights. The vertical line is the
    maximal compression, N / L of N weights in L layers. Raises `NothingToDrawError` if no pruned network has
    `layers.csv`, and `LonelyPointError` if there is a single point.
    """
    pruned = rows_with(rows, "layers", "these runs have no layers.csv")
    series = make_series(pruned, style, order)
    check_points(series, "top1", 3)
    figure, ((axes,),) = new_figure(title)
    chance = chance_level(rows)
    handles = [_draw(axes, item, chance) for item in series]
    points = np.concatenate([line.get_xdata() for line in axes.lines])
    maximum = maximal_compression(pruned)
    axes.set_xlabel("Direct compression")
    log_axis(axes, "x", points.min() / _MARGIN, max(points.max(), maximum) * _MARGIN)
    handles += accuracy_axes([axes], chance)
    handles.append(axes.axvline(maximum, color=RED, linewidth=1, gid="maximal", label="maximal compression"))
    if (pruned["empty_layers"] > 0).any():
        handles.append(grey_line("first empty layer", linestyle="", marker="o", fillstyle="none", markersize=8))
    add_legend(figure, handles)
    return figure


def maximal_compression(rows: pd.DataFrame) -> float:
    """N / L of N weights in L layers, the highest compression at which each layer can keep a weight."""
    layers = read_table(rows["folder"].iloc[0], "layers")
    assert layers is not None
    return float(layers["size"].sum() / len(layers))


def _draw(axes: Axes, item: Series, chance: float) -> Any:
    """Draw the curve of a pruner, with a ring at its first empty layer; returns the line, for the legend."""
    points, ring = [], None
    for _, level in item.levels():
        top1 = level["top1"].where(~level["collapsed"].astype(bool), chance)
        points.append((geometric_mean(level["direct_compression"]), top1.mean(), top1.min(), top1.max()))
        if ring is None and (level["empty_layers"] > 0).any():
            ring = points[-1][:2]
    x, mean, low, high = np.array(points).T
    axes.fill_between(x, low, high, color=item.colour, alpha=BAND, linewidth=0)
    (line,) = axes.plot(x, mean, **item.look(gid=f"{item.label}|direct"))
    if ring is not None:
        axes.plot(*ring, color=item.colour, marker="o", fillstyle="none", markersize=8, linestyle="", gid="empty")
    return line
