"""What is left of each layer, and of its units?"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from Utils.config.choices import DENSE
from Utils.figures.look import NothingToDrawError, Style, add_legend, grey_line, level_title, new_figure, spread
from Utils.figures.series import Series, make_series
from Utils.results.summaries import read_table

_MOST_PANELS = 4
_MOST_NAMES = 12
"""Up to so many layers are named on the axis; more are numbered."""


def layers(rows: pd.DataFrame, style: Style, title: str = "", order: Sequence[str] | None = None) -> Figure:
    """Density of each layer: effective solid, direct dashed, means over samples; a cross is a layer with nothing left.

    One panel for each target compression, at most four.
    """
    words = ("effective", "direct")
    empty_mark = grey_line("nothing effective", marker="X", linestyle="")
    columns = ("effective_density", "direct_density")
    figure, panels = _draw(rows, style, title, order, "layers", columns, words, [empty_mark])
    # Densities reach over decades; what is empty has no place on such an axis and is marked at its foot.
    lowest = min(_lowest(axes) for axes in panels)
    for axes in panels:
        axes.set_yscale("log")
        for line in list(axes.lines):
            x, y = np.asarray(line.get_xdata()), np.asarray(line.get_ydata())
            empty = y == 0
            if empty.any():
                line.set_ydata(np.where(empty, np.nan, y))
                if line.get_linestyle() == "-":
                    axes.plot(x[empty], np.full(empty.sum(), lowest / 2), color=line.get_color(), marker="X",
                              linestyle="", markersize=6, gid="empty")  # fmt: skip
    panels[0].set_ylabel("Density")
    return figure


def dead_units(rows: pd.DataFrame, style: Style, title: str = "", order: Sequence[str] | None = None) -> Figure:
    """Share of each hidden layer's units without an effective weight (solid), and without any kept weight (dashed)."""
    words = ("no effective weight", "no weight in")
    figure, panels = _draw(rows, style, title, order, "units", ("dead_share", "direct_dead_share"), words)
    panels[0].set_ylabel("Share of dead units")
    panels[0].set_ylim(-0.03, 1.03)
    return figure


def _draw(
    rows: pd.DataFrame,
    style: Style,
    title: str,
    order: Sequence[str] | None,
    table: str,
    columns: tuple[str, str],
    words: tuple[str, str],
    marks: Sequence[Any] = (),
) -> tuple[Figure, list[Axes]]:
    rows = rows[rows["pruner"] != DENSE]
    levels = spread(sorted(rows["target_compression"].unique()), _MOST_PANELS)
    size = (1.2 + 2.3 * len(levels), 3.1) if len(levels) > 1 else (4.6, 3.1)
    figure, axes = new_figure(title, 1, len(levels), size, sharey=True)
    handles: list[Any] = []
    series = make_series(rows, style, order)
    for panel, level in zip(axes[0], levels, strict=True):
        level_title(panel, level)
        for item in series:
            handles += _draw_series(panel, item, level, table, columns)
    if not handles:
        raise NothingToDrawError(f"these runs have no {table}.csv")
    add_legend(figure, [*handles, grey_line(words[0]), grey_line(words[1], linestyle="--"), *marks])
    return figure, list(axes[0])


def _draw_series(axes: Axes, item: Series, level: float, table: str, columns: tuple[str, str]) -> list[Any]:
    tables = [found for found in (_shares(folder, table) for folder in item.at(level)["folder"]) if found is not None]
    if not tables:
        return []
    means = pd.concat(tables).groupby("layer", sort=False)[list(columns)].mean()
    places = np.arange(len(means))
    names = [str(name).removesuffix(".weight") for name in means.index]
    is_named = len(names) <= _MOST_NAMES
    axes.set_xticks(places if is_named else places[:: -(-len(places) // _MOST_NAMES)])
    if is_named:
        axes.set_xticklabels(names, rotation=35, ha="right", rotation_mode="anchor")
    else:
        axes.set_xlabel("Layer")
    axes.plot(places, means[columns[1]], color=item.colour, linestyle="--", gid=f"{item.label}|direct")
    return axes.plot(
        places, means[columns[0]], color=item.colour, marker=item.marker, label=item.label,
        gid=f"{item.label}|effective",
    )  # fmt: skip


def _shares(folder: Any, table: str) -> pd.DataFrame | None:
    found = read_table(folder, table)
    if found is None:
        return None
    if table == "layers":
        direct, effective = found["kept_direct"] / found["size"], found["kept_effective"] / found["size"]
        return found.assign(direct_density=direct, effective_density=effective)
    return found.assign(
        direct_dead_share=found["direct_dead_units"] / found["units"], dead_share=found["dead_units"] / found["units"]
    )


def _lowest(axes: Axes) -> float:
    values = np.concatenate([np.asarray(line.get_ydata(), dtype=float) for line in axes.lines] or [np.ones(1)])
    return float(values[values > 0].min(initial=1.0))
