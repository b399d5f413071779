"""Scales of the axes: accuracy close to its curves, logarithmic ones in round numbers."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogFormatterMathtext, LogLocator, NullFormatter, NullLocator

from Utils.figures.look import GREY, grey_line

_ACCURACY = "accuracy"
_MARGIN, _SMALLEST_MARGIN = 0.06, 0.002
"""Share of the curves' range that is added at each end, and its minimum."""
_HIGHEST = 1.01
_NEAR = 0.4
"""Chance is drawn if it is outside the curves' range by no more than this share of it."""
_NARROW = 8
"""Minimum ratio of the ends of a logarithmic axis; a narrower axis is widened to it."""
_DECADES = 1000
"""Ratio of the ends from which on a logarithmic axis has powers of ten only."""


def accuracy_axes(panels: Sequence[Axes] | np.ndarray, chance: float = np.nan, after_start: bool = False) -> list[Any]:
    """Label the axes of accuracy and scale them to what is drawn; returns the legend entries of the chance level.

    A chance level far from the curves would push them together, so it is only named. `after_start`: the curves are
    over iterations, and their first points, of the untrained network, do not count. Call it after drawing.
    """
    panels[0].set_ylabel("Top-1 accuracy")
    for axes in panels:
        axes.set_gid(_ACCURACY)
    values = np.concatenate([_drawn_values(axes, after_start) for axes in panels])
    values = values[np.isfinite(values)]
    if not len(values):
        return []
    low, high = float(values.min()), float(values.max())
    is_near = max(low - chance, chance - high, 0) <= max(_NEAR * (high - low), _SMALLEST_MARGIN)
    side = "below" if chance < low else "above"
    if is_near:
        low, high = min(low, chance), max(high, chance)
    margin = max(_MARGIN * (high - low), _SMALLEST_MARGIN)
    for axes in panels:
        axes.set_ylim(low - margin, max(min(high + margin, _HIGHEST), high))
        if is_near:
            axes.axhline(chance, color=GREY, linestyle=":", linewidth=1, gid="chance")
    if np.isnan(chance):
        return []
    label = "chance" if is_near else f"chance is {chance:.3g}, {side}"
    return [grey_line(label, linestyle=":" if is_near else "", linewidth=1)]


def chance_level(rows: pd.DataFrame) -> float:
    """The mean accuracy of chance over rows of `summary.csv`; nan if they have none."""
    return float(rows["chance"].mean()) if "chance" in rows else np.nan


def _drawn_values(axes: Axes, after_start: bool) -> np.ndarray:
    """The heights of everything that is drawn, (n,)."""
    points = [np.asarray(line.get_xydata(), dtype=float) for line in axes.lines]
    points += [np.asarray(path.vertices) for collection in axes.collections for path in collection.get_paths()]
    if after_start:
        points = [part[part[:, 0] > np.nanmin(part[:, 0])] for part in points if len(part)]
    spans = [[bar.get_y(), bar.get_y() + bar.get_height()] for bar in axes.patches]  # type: ignore[attr-defined]
    return np.concatenate([np.empty(0), *(part[:, 1] for part in points), *spans])


def set_accuracy_limits(figure: Figure, limits: tuple[float, ...] | None) -> bool:
    """Set the ends of the axes of accuracy, if any are given; returns whether the figure has such axes."""
    panels = [axes for axes in figure.axes if axes.get_gid() == _ACCURACY]
    for axes in panels:
        if limits is not None:
            axes.set_ylim(*limits)
    return bool(panels)


def log_axis(axes: Axes, name: str, low: float, high: float) -> tuple[float, float]:
    """Make the axis `name`, x or y, logarithmic with round numbers, from `low` to `high`; returns its ends.

    If they are close together, it is wider, since it needs two numbers.
    """
    if high < _NARROW * low:
        centre = (low * high) ** 0.5
        low, high = centre / _NARROW**0.5, centre * _NARROW**0.5
    is_wide = high > _DECADES * low
    axes.set(**{f"{name}scale": "log", f"{name}lim": (low, high)})
    axis = getattr(axes, f"{name}axis")
    axis.set_major_locator(LogLocator(subs=(1,) if is_wide else (1, 2, 5)))
    axis.set_major_formatter(LogFormatterMathtext() if is_wide else FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())
    if not is_wide:
        axis.set_minor_locator(NullLocator())
    return low, high
