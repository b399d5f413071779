"""Figures `layers` and `dead-units`: density of each layer, and share of its dead units."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from Utils.figures.look import (
    MOST_PANELS,
    LonelyPointError,
    Style,
    add_legend,
    columns_size,
    grey_line,
    level_title,
    new_figure,
    spread,
)
from Utils.figures.scales import log_axis
from Utils.figures.series import Series, make_series, rows_with
from Utils.results.summaries import read_table

_MOST_NAMES = 12
"""Maximum number of layers named on the axis; more layers are numbered."""


def layers(rows: pd.DataFrame, style: Style, title: str = "", order: Sequence[str] | None = None) -> Figure:
    """Effective (solid) and direct (dashed) density of each layer: means over samples, a cross for an empty layer.

    One panel per target compression, at most four. Raises `NothingToDrawError` if no run has `layers.csv`.
    """
    columns = ("effective_density", "direct_density")
    figure, panels, handles = _draw(rows, style, title, order, "layers", columns, ("effective", "direct"))
    is_empty = density_axis(panels)
    panels[0].set_ylabel("Density")
    mark = grey_line("nothing effective", marker="X", linestyle="")
    add_legend(figure, [*handles, mark] if is_empty else handles)
    return figure


def density_axis(panels: Sequence[Axes]) -> bool:
    """Make the axis of densities, which panels share, logarithmic; returns whether a layer of a solid line is empty.

    Densities span decades; a logarithmic axis cannot show 0, so an empty layer is marked at the bottom.
    """
    lowest = min(_lowest(axes) for axes in panels)
    log_axis(panels[0], "y", lowest / 3, 1.3)
    is_empty = False
    for axes in panels:
        for line in list(axes.lines):
            x, y = np.asarray(line.get_xdata()), np.asarray(line.get_ydata())
            empty = y == 0
            if empty.any():
                is_empty = True
                line.set_ydata(np.where(empty, np.nan, y))
                if line.get_linestyle() == "-":
                    axes.plot(x[empty], np.full(empty.sum(), lowest / 2), color=line.get_color(), marker="X",
                              linestyle="", markersize=6, gid="empty")  # fmt: skip
    return is_empty


def name_layers(axes: Axes, names: Sequence[str]) -> np.ndarray:
    """Name the layers on the horizontal axis, or number them if there are many; returns their places."""
    x = np.arange(len(names))
    is_named = len(x) <= _MOST_NAMES
    axes.set_xticks(x if is_named else x[:: -(-len(x) // _MOST_NAMES)])
    if is_named:
        short = [name.removesuffix(".weight") for name in names]
        axes.set_xticklabels(short, rotation=35, ha="right", rotation_mode="anchor")
    else:
        axes.set_xlabel("Layer")
    return x


def dead_units(rows: pd.DataFrame, style: Style, title: str = "", order: Sequence[str] | None = None) -> Figure:
    """Share of each hidden layer's units without an effective weight (solid) and without any kept weight (dashed).

    One panel per target compression, at most four. Raises `NothingToDrawError` if no run has `units.csv`.
    """
    labels = ("no effective weight", "no weight in")
    columns = ("dead_share", "direct_dead_share")
    figure, panels, handles = _draw(rows, style, title, order, "units", columns, labels)
    panels[0].set_ylabel("Share of dead units")
    panels[0].set_ylim(-0.03, 1.03)
    add_legend(figure, handles)
    return figure


def _draw(
    rows: pd.DataFrame,
    style: Style,
    title: str,
    order: Sequence[str] | None,
    table: str,
    columns: tuple[str, str],
    labels: tuple[str, str],
) -> tuple[Figure, list[Axes], list[Any]]:
    """A figure of two columns of a table, its panels, one per target, and the entries of its legend.

    The columns are solid and dashed, as `labels` say.
    """
    rows = rows_with(rows, table, f"these runs have no {table}.csv")
    levels = spread(sorted(rows["target_compression"].unique()), MOST_PANELS)
    figure, axes = new_figure(title, 1, len(levels), columns_size(len(levels), 2.6), sharey=True)
    handles: list[Any] = []
    series = make_series(rows, style, order)
    for panel, level in zip(axes[0], levels, strict=True):
        level_title(panel, level)
        for item in series:
            handles += _draw_series(panel, item, level, table, columns)
    if len(handles) == 1 and len(handles[0].get_xdata()) == 1:
        raise LonelyPointError("it would show a single point; run main.py with further values of --target_sparsity")
    return figure, list(axes[0]), [*handles, grey_line(labels[0]), grey_line(labels[1], linestyle="--")]


def _draw_series(axes: Axes, item: Series, level: float, table: str, columns: tuple[str, str]) -> list[Any]:
    """Draw the means over samples of one series in one panel; returns the solid line, nothing without tables."""
    tables = (_shares(folder, table) for folder in item.at(level)["folder"])
    samples = [sample for sample in tables if sample is not None]
    if not samples:
        return []
    means = pd.concat(samples).groupby("layer", sort=False)[list(columns)].mean()
    x = name_layers(axes, list(map(str, means.index)))
    axes.plot(x, means[columns[1]], **item.faint(linestyle="--", gid=f"{item.label}|direct"))
    return axes.plot(x, means[columns[0]], **item.look(linestyle="-", gid=f"{item.label}|effective"))


def _shares(folder: Any, name: str) -> pd.DataFrame | None:
    """The table `layers` or `units` of a run with its counts as shares; None if the run has no such table."""
    table = read_table(folder, name)
    if table is None:
        return None
    if name == "layers":
        direct, effective = table["kept_direct"] / table["size"], table["kept_effective"] / table["size"]
        return table.assign(direct_density=direct, effective_density=effective)
    return table.assign(
        direct_dead_share=table["direct_dead_units"] / table["units"], dead_share=table["dead_units"] / table["units"]
    )


def _lowest(axes: Axes) -> float:
    """The smallest positive density in a panel, at most 1."""
    values = np.concatenate([np.asarray(line.get_ydata(), dtype=float) for line in axes.lines] or [np.ones(1)])
    return float(values[values > 0].min(initial=1.0))
