"""Averages of layers against the inverse of their sizes: axes, and the line of equal totals."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import NullFormatter

from Utils.figures.look import GREY, grey_line
from Utils.figures.scales import log_axis

_MARGIN = 1.3
"""Factor by which axes extend beyond their points."""


def inverse_size_axes(axes: Axes, x: np.ndarray, y: np.ndarray, crossing: tuple[float, float]) -> list[Any]:
    """Scale logarithmic axes to points (n,), and draw y ∝ x through a point; returns the line's legend entry."""
    low, high = 10 ** np.floor(np.log10(x.min() / _MARGIN)), 10 ** np.ceil(np.log10(x.max() * _MARGIN))
    axes.set(xscale="log", xlim=(low, high))
    axes.xaxis.set_minor_formatter(NullFormatter())
    log_axis(axes, "y", y.min() / _MARGIN, y.max() * _MARGIN)
    axes.set_xlabel("1 / (weights + biases of the layer)")
    ends = np.array([low, high])
    axes.plot(ends, crossing[1] * ends / crossing[0], color=GREY, linestyle="--", linewidth=1, zorder=1, gid="equal")
    return [grey_line("equal totals of all layers", linestyle="--", linewidth=1)]


def geometric_mean(values: np.ndarray) -> float:
    """The geometric mean of positive values."""
    return float(np.exp(np.log(values).mean()))
