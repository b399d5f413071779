"""Means on a compression axis, and marks of collapsed networks."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes


def mark_collapse(axes: Axes, x: float, y: float, colour: str, index: int) -> None:
    """Mark a collapsed network."""
    # Later marks are smaller, so that those of several pruners at one place can all be seen.
    size = max(3.0, 12 - 2 * index)
    axes.plot([x], [y], color=colour, marker="X", markersize=size, markeredgecolor="white", markeredgewidth=0.2,
              linestyle="", zorder=4 + index / 100, gid="collapsed")  # fmt: skip


def middle(values: pd.Series) -> float:
    """The geometric mean, the middle on a logarithmic axis; of equal values, just theirs."""
    middle = np.exp(np.log(values.astype(float)).mean())
    return float(np.clip(middle, values.min(), values.max()))
