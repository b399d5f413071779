"""Figure `search`: accuracy, density and flips of a mask over the epochs of its search and of fine-tuning."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from Utils.figures.look import (
    GREY,
    MOST_PANELS,
    LonelyPointError,
    Style,
    add_legend,
    columns_size,
    draw_band,
    grey_line,
    new_figure,
    spread,
)
from Utils.figures.scales import accuracy_axes, chance_level, log_axis
from Utils.figures.series import Series, make_series, marks, rows_with
from Utils.results.summaries import read_table

_STEPS = ("search", "rounded", "fine-tune")
"""Phases that follow each other; those of `_CHECKS` replace the last one."""

_PANELS = (("top1",), ("density", "effective_density", "free_density"), ("flips",))
"""Columns that each panel shows."""

_BEFORE = {"top1": "soft_top1", "density": "density_before", "effective_density": "effective_density_before"}
"""Columns of the same values before rounding."""

_MARGIN = 1.3
"""Factor by which the axis of density extends beyond its curves."""

_FAINT: dict[str, Any] = {"linewidth": 0.9, "alpha": 0.6}

_LOOKS: dict[str, tuple[str, dict[str, Any]]] = {
    "density": ("direct density", {"linestyle": "-"}),
    "effective_density": ("effective density", {"linestyle": "--", "linewidth": 1, "markersize": 2.5}),
    "free_density": ("free density (not frozen)", {"linestyle": ":", "linewidth": 0.9, "marker": ""}),
    "before": ("before rounding", _FAINT | {"marker": ""}),
    "rounded": ("rounding", {"linestyle": "", "marker": "|", "markersize": 11}),
}
"""Label and look of what has the same line in each series."""

_CHECKS: dict[str, tuple[str, dict[str, Any]]] = {
    "shuffle": ("mask shuffled", _FAINT | {"linestyle": (0, (3, 1))}),
    "reinitialize": ("weights reinitialized", _FAINT | {"linestyle": (0, (8, 2))}),
    "invert": ("mask inverted", _FAINT | {"linestyle": (0, (5, 1, 1, 1))}),
    "random": ("random mask", _FAINT | {"linestyle": (0, (1, 2))}),
}
"""Label and look of each sanity check."""


def search(rows: pd.DataFrame, style: Style, title: str = "", order: Sequence[str] | None = None) -> Figure:
    """Test accuracy, density and flips of the mask against epochs; one column per target density, at most four.

    Fine-tuning continues the epochs of the search; a vertical line is where the mask was rounded. Means over samples,
    bands from the lowest to the highest. Faint: sanity checks, and values before rounding where they differ. Raises
    `NothingToDrawError` if no run has `search.csv`, and `LonelyPointError` if all have the same single epoch.
    """
    rows = rows_with(rows, "search", "these networks have no mask that was searched for")
    levels = spread(sorted(rows["target_compression"].unique()), MOST_PANELS)
    rows = rows[rows["target_compression"].isin(levels)]
    size, heights = columns_size(len(levels), 5.6), {"height_ratios": [3, 3, 2]}
    figure, axes = new_figure(title, 3, len(levels), size, sharex=True, sharey="row", gridspec_kw=heights)
    for column, level in zip(axes.T, levels, strict=True):
        column[0].set_title("no target" if level == 1 else f"target density {1 / level:.4g}", fontsize=8)
        column[2].set_xlabel("Epoch")
        column[2].xaxis.set_major_locator(MaxNLocator(4, integer=True, steps=[1, 2, 5, 10]))
    handles: list[Any] = []
    ends: set[tuple[int, float]] = set()
    for index, item in enumerate(make_series(rows, style, order)):
        for position, level in enumerate(levels):
            if len(runs := item.at(level)):
                table, end = _read(runs)
                handles += _draw_series(axes[:, position], item, table, index)
                ends.add((position, end))
    chance = _scale(axes, chance_level(rows))
    for position, end in ends:
        for panel in axes[:, position] if end else ():
            panel.axvline(end, color=GREY, linewidth=0.8, zorder=1, gid="rounded")
    add_legend(figure, [*handles, *_grey_entries(axes), *chance])
    return figure


def _read(runs: pd.DataFrame) -> tuple[pd.DataFrame, float]:
    """The last row of each epoch of all samples with its `place`, and the last epoch of the search, 0 without a search.

    The place is the epoch on the axis. It is counted from the longest search, so that all samples are rounded at once.
    An untrained network has no accuracy here: the axis would extend to it.
    """
    tables = [
        table.drop_duplicates(["phase", "epoch"], keep="last")
        for folder in runs["folder"]
        if (table := read_table(folder, "search")) is not None
    ]
    ends = [table.loc[table["phase"] == "search", "epoch"].max() for table in tables]
    last = float(np.nanmax([0, *ends]))
    placed = []
    for table, end in zip(tables, np.nan_to_num(ends), strict=True):
        place = table["epoch"].where(table["phase"] == "search", table["epoch"] + last - end)
        phase = pd.Categorical(table["phase"], [*_STEPS, *_CHECKS])
        top1, soft = (table[name].where(place > 0) for name in ("top1", "soft_top1"))
        placed.append(table.assign(phase=phase, place=place, top1=top1, soft_top1=soft))
    return pd.concat(placed), last


def _draw_series(column: np.ndarray, item: Series, table: pd.DataFrame, index: int) -> list[Any]:
    """Draw the means over samples of one series in one column; returns the curve of accuracy."""
    steps = table[table["phase"].isin(_STEPS)].groupby(["phase", "place"], observed=True)
    curves = [
        _draw_curve(panel, item, steps, name, index)
        for panel, names in zip(column, _PANELS, strict=True)
        for name in names
    ]
    checks = table[table["phase"].isin(_CHECKS)].groupby("phase", observed=True)
    for phase, rows in checks:
        top1 = rows.groupby("place")["top1"].mean()
        look = {"gid": f"{item.label}|{phase}", "markevery": [len(top1) - 1]} | _CHECKS[str(phase)][1]
        column[0].plot(top1.index, top1, **item.faint(**look))
    return curves[0]


def _draw_curve(panel: Axes, item: Series, steps: Any, name: str, index: int) -> list[Any]:
    """Draw one column of the table, and faintly its values before rounding if any differ; returns the curve."""
    means, places = steps[name].mean(), steps["place"].first()
    curve = pd.Series(means.to_numpy(), places).dropna()
    if curve.empty:
        return []
    _, look = _LOOKS.get(name, ("", {}))
    if name in _BEFORE:
        before = steps[_BEFORE[name]].mean()
        if (before.notna() & ~np.isclose(before, means)).any():
            faint = {"gid": f"{item.label}|{_BEFORE[name]}"} | look | _LOOKS["before"][1]
            panel.plot(places, before, **item.faint(**faint))
    draw_band(panel, places, steps[name], item.colour)
    look = {"markersize": 4, "gid": f"{item.label}|{name}", "markevery": marks(len(curve), index)} | look
    return panel.plot(curve.index, curve, **item.look(**look))


def _scale(axes: np.ndarray, chance: float) -> list[Any]:
    """Label and scale the axes of all panels (3, columns) to what is drawn; returns the legend entries of chance.

    Raises `LonelyPointError` if everything drawn is at one epoch.
    """
    points = [
        np.concatenate([np.empty((0, 2)), *(line.get_xydata() for panel in row for line in panel.lines)])
        for row in axes
    ]
    places, densities, flips = np.concatenate(points)[:, 0], points[1][:, 1], points[2][:, 1]
    if len(np.unique(places)) <= 1:
        raise LonelyPointError("it would show a single epoch; run main.py with more --epochs")
    lowest = densities[densities > 0].min(initial=1)
    log_axis(axes[1, 0], "y", lowest / _MARGIN, np.nanmax([lowest, *densities]) * _MARGIN)
    axes[1, 0].set_ylabel("Density")
    axes[2, 0].set_yscale("symlog", linthresh=1)
    axes[2, 0].set(ylabel="Mask flips", ylim=(-0.3, 2 * flips.max(initial=5)))
    return accuracy_axes(axes[0], chance)


def _grey_entries(axes: np.ndarray) -> list[Any]:
    """The legend entries of what is drawn alike in each series, in the order of their tables."""
    drawn = {str(line.get_gid()).rpartition("|")[2] for panel in axes.flat for line in panel.lines}
    if drawn & set(_BEFORE.values()):
        drawn.add("before")
    return [grey_line(label, **look) for name, (label, look) in (_LOOKS | _CHECKS).items() if name in drawn]
