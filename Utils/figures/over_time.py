"""What happens to networks that are pruned while they train, or level by level?"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullFormatter

from Utils.figures.look import (
    BAND,
    NothingToDrawError,
    Style,
    add_legend,
    grey_line,
    level_title,
    new_figure,
    spread,
)
from Utils.figures.series import Series, make_series
from Utils.results import read_table
from Utils.settings import DENSE

_MOST_PANELS = 4
_SMALLEST_BAND = 2
_ARMS = {"union": "Union mask", "vanilla": "Vanilla", "vanilla-cyclic": "Vanilla, cyclic rates"}
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7f5539", "#3b3b98")
"""Variants of one pruner are told apart by these, where its own colour would not do."""


def sparsity(rows: pd.DataFrame, style: Style, title: str = "", order: Sequence[str] | None = None) -> Figure:
    """Density of the masks and test accuracy against iterations, a column for each target, at most four.

    Of the lowest sample, as cycles of different samples would blur.
    """
    rows = rows[rows["pruner"] != DENSE]
    levels = spread(sorted(rows["target_compression"].unique()), _MOST_PANELS)
    figure, axes = new_figure(title, 2, len(levels), (1.6 + 2.7 * len(levels), 4.2), sharex=True, sharey="row")
    handles: list[Any] = []
    for column, level in zip(axes.T, levels, strict=True):
        level_title(column[0], level)
        column[1].set_xlabel("Iteration")
        column[1].xaxis.set_major_locator(MaxNLocator(4))
        for item, colour in _coloured(make_series(rows, style, order)):
            handles += _draw_course(column, item, level, colour)
    if not handles:
        raise NothingToDrawError("these networks were not pruned while they trained")
    axes[0, 0].set_ylabel("Density")
    axes[0, 0].set_yscale("log")
    axes[1, 0].set_ylabel("Top-1 accuracy")
    add_legend(figure, handles)
    return figure


def _draw_course(column: Sequence[Axes], item: Series, level: float, colour: str) -> list[Any]:
    runs = item.at(level).sort_values("sample")
    table = read_table(runs["folder"].iloc[0], "sparsity") if len(runs) else None
    if table is None:
        return []
    training = read_table(runs["folder"].iloc[0], "training")
    last = training["iteration"].max() if training is not None else table["iteration"].max()
    steps = np.array([0, *table["iteration"], last])
    densities = np.array([1.0, *(1 - table["direct_sparsity"]), 1 - table["direct_sparsity"].iloc[-1]])
    handles = column[0].step(
        steps, densities, where="post", color=colour, linewidth=1, label=item.label, gid=f"{item.label}|density"
    )
    if training is not None:
        column[1].plot(training["iteration"], training["top1"], color=colour, gid=f"{item.label}|top1")
    return handles


def levels(rows: pd.DataFrame, style: Style, title: str = "", order: Sequence[str] | None = None) -> Figure:
    """Test accuracy against the density of each level, of rewound weights (solid) and of other initial ones (dashed).

    Means over samples, bands from the lowest to the highest.
    """
    figure, axes = new_figure(title)
    axis = axes[0, 0]
    handles: list[Any] = []
    is_new = False
    for item, colour in _coloured(make_series(rows[rows["pruner"] != DENSE], style, order)):
        tables = [read_table(folder, "levels") for folder in item.rows["folder"]]
        found = [table for table in tables if table is not None]
        if not found:
            continue
        table = pd.concat(found)
        for weights, linestyle in (("rewound", "-"), ("new", "--")):
            part = table[table["weights"].isin([weights, "initial"])]
            if weights not in set(table["weights"]):
                continue
            is_new |= weights == "new"
            by_level = part.groupby("level")
            densities, top1 = 1 - by_level["direct_sparsity"].mean(), by_level["top1"]
            if by_level.size().max() >= _SMALLEST_BAND:
                axis.fill_between(densities, top1.min(), top1.max(), color=colour, alpha=BAND, linewidth=0)
            handles += axis.plot(
                densities, top1.mean(), color=colour, linestyle=linestyle, gid=f"{item.label}|{weights}",
                marker="" if weights == "new" else item.marker, label="" if weights == "new" else item.label,
            )  # fmt: skip
    if not handles:
        raise NothingToDrawError("these networks were not pruned level by level")
    axis.set(xscale="log", xlabel="Weights left (%, log scale)", ylabel="Top-1 accuracy")
    axis.invert_xaxis()
    _percent_ticks(axis, [density for line in axis.lines for density in np.atleast_1d(line.get_xdata())])
    shown = [handle for handle in handles if handle.get_label() and not handle.get_label().startswith("_")]
    extra = [grey_line("rewound"), grey_line("from other initial weights", linestyle="--")] if is_new else []
    add_legend(figure, [*shown, *extra])
    return figure


def _by_arm(item: Series) -> Series:
    arm = item.rows["arm"].iloc[0] if "arm" in item.rows else None
    if not isinstance(arm, str):
        return item
    settings = item.label.partition(" (")[2].removesuffix(")").split(", ")
    rest = ", ".join(text for text in settings if text and not text.startswith("arm="))
    pruner = item.label.partition(" (")[0]
    return replace(item, label=f"{_ARMS.get(arm, arm)}: {pruner.lower()}{f' ({rest})' if rest else ''}")


def _percent_ticks(axis: Axes, densities: Sequence[float]) -> None:
    chosen = spread(sorted({round(float(density), 6) for density in densities}), 8)
    axis.set_xticks(chosen, [f"{100 * density:.3g}" for density in chosen])
    axis.xaxis.set_minor_formatter(NullFormatter())
    axis.minorticks_off()


def overlaps(rows: pd.DataFrame, style: Style, title: str = "", order: Sequence[str] | None = None) -> Figure:
    """Intersection over union of the masks of every two cycles, for each target, at most four; the lowest sample."""
    rows = rows[rows["pruner"] != DENSE]
    found = []
    for item in make_series(rows, style, order):
        for level in spread(sorted(item.rows["target_compression"].unique()), _MOST_PANELS):
            runs = item.at(level).sort_values("sample")
            table = read_table(runs["folder"].iloc[0], "overlaps")
            if table is not None:
                found.append((item.label, level, table))
    if not found:
        raise NothingToDrawError("these networks have no masks of several cycles")
    figure, axes = new_figure(title, 1, len(found), (1.4 + 2.2 * len(found), 2.9), sharey=True)
    lowest = min(table["overlap"].min() for _, _, table in found)
    for axis, (label, level, table) in zip(axes[0], found, strict=True):
        square = table.pivot(index="cycle", columns="other", values="overlap").to_numpy()
        extent = (0.5, len(square) + 0.5, len(square) + 0.5, 0.5)
        axis.imshow(square, vmin=lowest, vmax=1, cmap="viridis", extent=extent, gid=f"{label}|{level}")
        axis.grid(False)
        axis.set_xlabel("Cycle")
        for ticks in (axis.xaxis, axis.yaxis):
            ticks.set_major_locator(MaxNLocator(5, integer=True))
        level_title(axis, level)
    axes[0, 0].set_ylabel("Cycle")
    figure.colorbar(axes[0, 0].images[0], ax=list(axes[0]), label="Intersection over union")
    return figure


def arms(rows: pd.DataFrame, style: Style, title: str = "", order: Sequence[str] | None = None) -> Figure:
    """Test accuracy of each arm at each target: means over samples, with their standard deviations."""
    if "arm" not in rows or rows.loc[rows["pruner"] != DENSE, "arm"].dropna().nunique() < 2:
        raise NothingToDrawError("these networks are not of several arms")
    figure, axes = new_figure(title)
    axis = axes[0, 0]
    handles = []
    series = make_series(rows[rows["pruner"] != DENSE], style, order)
    targets = sorted(rows.loc[rows["pruner"] != DENSE, "target_sparsity"].unique())
    for index, (item, colour) in enumerate(_coloured(series)):
        accuracy = item.rows.groupby("target_sparsity")["top1"]
        means = accuracy.mean().reindex(targets)
        spreads = accuracy.std().reindex(targets).fillna(0)
        places = np.arange(len(targets)) + (index - (len(series) - 1) / 2) * 0.5 / len(series)
        handles.append(axis.errorbar(
            places, means, spreads, color=colour, fmt=item.marker, capsize=3, label=item.label, linestyle="none",
        ))  # fmt: skip
    axis.set_xticks(range(len(targets)), [f"{100 * target:.4g}%" for target in targets])
    axis.set(xlabel="Target sparsity", ylabel="Top-1 accuracy")
    add_legend(figure, handles)
    return figure


def _coloured(series: Sequence[Series]) -> list[tuple[Series, str]]:
    """Each series with its pruner's colour, or, if several are of one pruner, with one of its own; arms by name."""
    series = [_by_arm(item) for item in series]
    names = [item.name for item in series]
    is_told = len(set(names)) == len(names)
    return [(item, item.colour if is_told else _COLOURS[n % len(_COLOURS)]) for n, item in enumerate(series)]
