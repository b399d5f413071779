"""Figure `unit-conservation`: the scores that leave each hidden unit against those that enter it."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator

from Utils.figures.look import GREY, NothingToDrawError, Style, add_legend, grey_line, new_figure
from Utils.figures.series import Series, make_series, rows_with
from Utils.results.summaries import read_table

_MOST_COLUMNS = 3
_MARGIN = 1.3
"""Factor by which axes extend beyond their points."""
_TICKS = 5
"""Largest number of ticks of a logarithmic axis."""
_LINEAR = 1e-3
"""Share of the largest score up to which a symmetric logarithmic axis is linear."""


def unit_conservation(rows: pd.DataFrame, style: Style, title: str = "", order: Sequence[str] | None = None) -> Figure:
    """Sum of scores out of each hidden unit against the sum into it, of all samples; a panel per pruner, y = x dashed.

    Axes are logarithmic, or linear around zero if sums have both signs. Raises `NothingToDrawError` if no run has
    `unit_scores.csv`, or all sums are 0.
    """
    rows = rows_with(rows, "unit_scores", "their scores were not summed by unit")
    panels = [(item, points) for item in make_series(rows, style, order) if len(points := _points(item))]
    if not panels:
        raise NothingToDrawError("all scores are 0")
    columns = 2 if len(panels) == 4 else min(_MOST_COLUMNS, len(panels))
    lines = -(-len(panels) // columns)
    figure, axes = new_figure(title, lines, columns, (0.6 + 2.4 * columns, 0.5 + 2.4 * lines))
    for axis, (item, points) in zip(axes.flat, panels, strict=False):
        _draw(axis, item, points)
    for axis in axes.flat[len(panels) :]:
        axis.set_visible(False)
    for row in axes:
        row[0].set_ylabel("Score out")
    for index, axis in enumerate(axes.flat):
        axis.set_xlabel("Score in" if index + columns >= len(panels) else "")
    add_legend(figure, [grey_line("as much out as in", linestyle="--", linewidth=1)])
    return figure


def _points(item: Series) -> np.ndarray:
    """Scores into and out of the hidden units of all samples, (units, 2), without those of which both are 0."""
    tables = [table for folder in item.rows["folder"] if (table := read_table(folder, "unit_scores")) is not None]
    points = pd.concat(tables)[["score_in", "score_out"]].to_numpy()
    return points[(points != 0).any(axis=1)]


def _draw(axis: Axes, item: Series, points: np.ndarray) -> None:
    """Draw the units of a pruner in its panel."""
    axis.set_title(f"{item.label}, r = {item.rows['correlation'].mean():.4g}", fontsize=8)
    sizes = np.abs(points[points != 0])
    top = 10.0 ** np.floor(np.log10(sizes.max()))
    if (points >= 0).all() or (points <= 0).all():
        points = np.abs(points)
        ends = 10.0 ** np.floor(np.log10(sizes.min() / _MARGIN)), 10.0 ** np.ceil(np.log10(sizes.max() * _MARGIN))
        axis.set(xscale="log", yscale="log", xlim=ends, ylim=ends)
        for side in (axis.xaxis, axis.yaxis):
            side.set_major_locator(LogLocator(numticks=_TICKS))
            side.set_minor_locator(NullLocator())
    else:
        ends = -_MARGIN * sizes.max(), _MARGIN * sizes.max()
        axis.set_xscale("symlog", linthresh=_LINEAR * top)
        axis.set_yscale("symlog", linthresh=_LINEAR * top)
        axis.set(xlim=ends, ylim=ends, xticks=(-top, 0, top), yticks=(-top, 0, top))
    axis.plot(ends, ends, color=GREY, linestyle="--", linewidth=1, gid="equal")
    look = {"linestyle": "", "marker": ".", "markersize": 2, "alpha": 0.5, "markeredgewidth": 0, "rasterized": True}
    axis.plot(*points.T, color=item.colour, gid=f"{item.label}|units", **look)
