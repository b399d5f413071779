"""Compression axes: geometric means of compressions, and marks of collapsed networks."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes


def mark_collapse(axes: Axes, x: float, y: float, colour: str, index: int) -> None:
    """Mark a collapsed network; `index` is the position of its pruner in the legend."""
    # Marks get smaller with the index, so that several pruners at one point are all visible.
    size = max(5.0, 12.0 - index)
    axes.plot([x], [y], color=colour, marker="X", markersize=size, markeredgecolor="white", markeredgewidth=0.2,
              linestyle="", zorder=4 + index / 100, gid="collapsed")  # fmt: skip


def geometric_mean(values: pd.Series) -> float:
    """The geometric mean, which is the centre on a logarithmic axis; exact if all values are equal."""
    mean = np.exp(np.log(values.astype(float)).mean())
    return float(np.clip(mean, values.min(), values.max()))
