"""What accuracy, and what effective compression, do pruners reach at each target?"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from Utils.figures.look import BAND, GREY, Style, add_legend, grey_line, new_figure
from Utils.figures.series import Series, make_series
from Utils.settings import DENSE

_NARROW = 100
"""Below this ratio of its ends a logarithmic axis is made wider."""

_MARGIN = 1.5
"""Factor by which an axis of compressions reaches beyond its points, so that a single one has an axis around it."""


def accuracies(rows: pd.DataFrame, style: Style, title: str = "", order: Sequence[str] | None = None) -> Figure:
    """Top-1 against compression: solid against effective, dashed against direct, bands from minimum to maximum.

    A collapsed network counts as chance, and is marked there at its target compression.
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


def compressions(rows: pd.DataFrame, style: Style, title: str = "", order: Sequence[str] | None = None) -> Figure:
    """Effective against target compression, both logarithmic; collapsed networks are marked at the upper edge."""
    figure, ((axes,),) = new_figure(title)
    handles: list[Any] = []
    collapsed: list[tuple[float, str, int]] = []
    for index, item in enumerate(make_series(rows, style, order)):
        if item.name == DENSE:
            continue
        points = []
        for target, level in item.levels():
            found = level["effective_compression"].replace(np.inf, np.nan).dropna()
            if len(found) < len(level):
                collapsed.append((target, item.colour, index))
            if len(found):
                points.append((target, _middle(found), found.min(), found.max()))
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
            _mark_collapse(axes, target, top, colour, index)
        axes.set_ylim(top=top * 2)
        handles.append(grey_line("collapsed (infinite)", linestyle="", marker="X", markersize=6))
    add_legend(figure, handles)
    return figure


def _widen(axes: Axes) -> None:
    """An axis of compressions that are close together has no room for its numbers."""
    low, high = axes.get_xlim()
    if high < _NARROW * low:
        middle = (low * high) ** 0.5
        axes.set_xlim(middle / _NARROW**0.5, middle * _NARROW**0.5)


def _draw_dense(axes: Axes, item: Series) -> Any:
    top1 = item.rows["top1"]
    axes.axhspan(top1.min(), top1.max(), color=item.colour, alpha=BAND, linewidth=0)
    return axes.axhline(top1.mean(), color=item.colour, linewidth=1.1, linestyle="-.", label=item.label, gid=item.label)


def _draw_accuracy(axes: Axes, item: Series, chance: float, index: int) -> Any:
    against_effective, against_direct = [], []
    for target, level in item.levels():
        top1 = level["top1"].where(~level["collapsed"].astype(bool), chance)
        found = level["effective_compression"].replace(np.inf, np.nan).dropna()
        spread = (top1.mean(), top1.min(), top1.max())
        against_effective.append((_middle(found) if len(found) else target, *spread))
        against_direct.append((_middle(level["direct_compression"]), *spread))
        if level["collapsed"].any():
            _mark_collapse(axes, target, chance, item.colour, index)
    solid, dashed = np.array(sorted(against_effective)), np.array(against_direct)
    axes.fill_between(solid[:, 0], solid[:, 2], solid[:, 3], color=item.colour, alpha=BAND, linewidth=0)
    axes.plot(dashed[:, 0], dashed[:, 1], color=item.colour, linestyle="--", gid=f"{item.label}|direct")
    (line,) = axes.plot(
        solid[:, 0], solid[:, 1], color=item.colour, marker=item.marker, label=item.label,
        gid=f"{item.label}|effective",
    )  # fmt: skip
    return line


def _mark_collapse(axes: Axes, x: float, y: float, colour: str, index: int) -> None:
    # Later marks are smaller, so that those of several pruners at one place can all be seen.
    size = max(3.0, 12 - 2 * index)
    axes.plot([x], [y], color=colour, marker="X", markersize=size, markeredgecolor="white", markeredgewidth=0.2,
              linestyle="", zorder=4 + index / 100, gid="collapsed")  # fmt: skip


def _middle(values: pd.Series) -> float:
    """The geometric mean, the middle on a logarithmic axis; of equal values, just theirs."""
    middle = np.exp(np.log(values.astype(float)).mean())
    return float(np.clip(middle, values.min(), values.max()))
