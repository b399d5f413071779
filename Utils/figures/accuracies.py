"""Figure `accuracies`: top-1 against effective and direct compression."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from Utils.config.choices import DENSE
from Utils.figures.collapse import geometric_mean, mark_collapse
from Utils.figures.look import BAND, GREY, Style, add_legend, grey_line, new_figure
from Utils.figures.series import Series, make_series

_NARROW = 100
"""Minimum ratio of the ends of the logarithmic axis; a narrower axis is widened to it."""


def accuracies(rows: pd.DataFrame, style: Style, title: str = "", order: Sequence[str] | None = None) -> Figure:
    """Top-1 against effective (solid) and direct (dashed) compression: means over samples, bands from min to max.

    A collapsed network counts as chance level, with a mark at its target compression.
    """
    figure, ((axes,),) = new_figure(title)
    axes.set_xscale("log")
    series = make_series(rows, style, order)
    chance = float(rows["chance"].mean()) if "chance" in rows else np.nan
    handles: list[Any] = []
    for index, item in enumerate(series):
        is_dense = item.name == DENSE
        handles.append(_draw_dense(axes, item) if is_dense else _draw_accuracy(axes, item, chance, index))
    axes.axhline(chance, color=GREY, linestyle=":", linewidth=1, gid="chance")
    axes.set(xlabel="Compression", ylabel="Top-1 accuracy")
    _widen(axes)
    handles += [
        grey_line("against effective"),
        grey_line("against direct", linestyle="--"),
        grey_line("chance", linestyle=":", linewidth=1),
    ]
    if rows["collapsed"].any():
        handles.append(grey_line("collapsed", linestyle="", marker="X", markersize=6))
    add_legend(figure, handles)
    return figure


def _widen(axes: Axes) -> None:
    """Widen an axis whose compressions are close together, which has no room for tick labels."""
    low, high = axes.get_xlim()
    if high < _NARROW * low:
        centre = (low * high) ** 0.5
        axes.set_xlim(centre / _NARROW**0.5, centre * _NARROW**0.5)


def _draw_dense(axes: Axes, item: Series) -> Any:
    """Draw the dense network as a horizontal line with a band; returns the line."""
    top1 = item.rows["top1"]
    axes.axhspan(top1.min(), top1.max(), color=item.colour, alpha=BAND, linewidth=0)
    return axes.axhline(top1.mean(), color=item.colour, linewidth=1.1, linestyle="-.", label=item.label, gid=item.label)


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
    axes.plot(dashed[:, 0], dashed[:, 1], color=item.colour, linestyle="--", gid=f"{item.label}|direct")
    (line,) = axes.plot(
        solid[:, 0], solid[:, 1], color=item.colour, marker=item.marker, label=item.label,
        gid=f"{item.label}|effective",
    )  # fmt: skip
    return line
