"""Figure `layer-conservation`: the average score of each layer against the inverse of its size."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from Utils.figures.look import NothingToDrawError, Style, add_legend, new_figure
from Utils.figures.series import make_series, rows_with
from Utils.figures.theory.inverse_sizes import geometric_mean, inverse_size_axes
from Utils.results.summaries import read_table


def layer_conservation(rows: pd.DataFrame, style: Style, title: str = "", order: Sequence[str] | None = None) -> Figure:
    """Average score of each layer, divided by the geometric mean over layers, against the inverse size; log-log.

    Geometric means over samples. The label of a series has the slope of its logarithms; the dashed line has slope 1.
    Raises `NothingToDrawError` if no run has `layer_scores.csv`, or all scores are 0.
    """
    rows = rows_with(rows, "layer_scores", "their scores were not summed by layer")
    figure, axes = new_figure(title, size=(4.6, 3.4))
    handles: list[Any] = []
    drawn = []
    for item in make_series(rows, style, order):
        points = _points(item.rows["folder"])
        if len(points):
            slope = round(item.rows["slope"].mean(), 3) + 0.0  # not -0.000
            look = item.look(linestyle="", label=f"{item.label}, slope {slope:.3f}", gid=f"{item.label}|scores")
            handles += axes[0, 0].plot(*points.T, **look)
            drawn.append(points)
    if not drawn:
        raise NothingToDrawError("all scores are 0")
    x, y = np.concatenate(drawn).T
    handles += inverse_size_axes(axes[0, 0], x, y, (geometric_mean(drawn[0][:, 0]), 1.0))
    axes[0, 0].set_ylabel("Average score (relative)")
    add_legend(figure, handles)
    return figure


def _points(folders: pd.Series) -> np.ndarray:
    """Inverse size and relative average score (layers, 2) of the layers with a score, in the order of the inverse."""
    tables = []
    for folder in folders:
        table = read_table(folder, "layer_scores")
        if table is not None and (table["average_score"] > 0).any():
            scored = table[table["average_score"] > 0]
            logs = np.log(scored["average_score"])
            tables.append(scored.assign(log=logs - logs.mean()))
    if not tables:
        return np.empty((0, 2))
    by_layer = pd.concat(tables).groupby("layer", sort=False)
    points = np.stack([by_layer["inverse_size"].mean(), np.exp(by_layer["log"].mean())], axis=1)
    return points[points[:, 0].argsort()]
