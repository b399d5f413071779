"""Figure `layer-collapse`: the fraction of each layer that is left at rising compressions, a panel for each pruner."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from Utils.figures.look import GREY, RED, Style, add_legend, grey_line, new_figure
from Utils.figures.scales import log_axis
from Utils.figures.series import Series, make_series, rows_with
from Utils.results.summaries import read_table

_MOST_COLUMNS = 3
_COLOURS = colormaps["viridis"]
_MARGIN = 2.0
"""Factor by which the axes extend beyond their points."""


def layer_collapse(rows: pd.DataFrame, style: Style, title: str = "", order: Sequence[str] | None = None) -> Figure:
    """Density of each layer against compression, dashed once any layer is empty; the first empty layer is named.

    Lines are those of the first sample; each sample has its critical compression. Raises `NothingToDrawError` if no run
    has `levels.csv`.
    """
    series = make_series(rows_with(rows, "levels", "these runs have no levels.csv"), style, order)
    lines = -(-len(series) // _MOST_COLUMNS)
    columns = -(-len(series) // lines)
    size = (1.8 + 2.2 * columns, 0.6 + 2.0 * lines)
    figure, grid = new_figure(title, lines, columns, size, sharex=True, sharey=True)
    handles: list[Any] = []
    for axes, item in zip(grid.flat, series, strict=False):
        axes.set_title(item.label, fontsize=8)
        handles += _draw_panel(axes, item)
    for axes in grid.flat[len(series) :]:
        axes.set_axis_off()
    _scale(list(grid.flat[: len(series)]))
    for axes in grid[:, 0]:
        axes.set_ylabel("Density")
    for column in range(columns):
        lowest = grid[(len(series) - 1 - column) // columns, column]
        lowest.set_xlabel("Compression")
        lowest.tick_params(labelbottom=True)
    layers = max(_table(item)["layer"].nunique() for item in series)
    scale = ScalarMappable(Normalize(1, max(2, layers)), _COLOURS)
    figure.colorbar(scale, ax=grid, label="Layer", ticks=[1, layers], shrink=0.7)
    add_legend(figure, handles)
    return figure


def _draw_panel(axes: Axes, item: Series) -> list[Any]:
    """Draw the layers of one pruner and its marks; returns the entries of the legend."""
    densities = _densities(_table(item))
    compressions, is_empty = 10 ** densities.index.to_numpy(), (densities == 0).any(axis=1).to_numpy()
    intact = int(is_empty.argmax()) if is_empty.any() else len(is_empty)
    for place, name in enumerate(densities):
        colour = _COLOURS(place / max(1, densities.shape[1] - 1))
        values = densities[name].where(densities[name] > 0).to_numpy()
        look: dict[str, Any] = {"color": colour, "linewidth": 1, "gid": name}
        axes.plot(compressions[:intact], values[:intact], **look)
        axes.plot(compressions[max(0, intact - 1) :], values[max(0, intact - 1) :], linestyle="--", **look)
    maximum = 10 ** item.rows["maximal_exponent"].iloc[0]
    axes.axvline(maximum, color=RED, linewidth=1, gid="maximal")
    for exponent in item.rows["critical_exponent"].dropna():
        axes.axvline(10**exponent, color=GREY, linestyle=":", linewidth=1, gid="critical")
    handles = [grey_line("critical compression", linestyle=":"), grey_line("a layer is empty", linestyle="--")]
    handles.append(axes.plot([], [], color=RED, linewidth=1, label="maximal compression")[0])
    return handles + (_mark_first(axes, item, densities, intact) if is_empty.any() else [])


def _mark_first(axes: Axes, item: Series, densities: pd.DataFrame, place: int) -> list[Any]:
    """Mark and name the first empty layer, at the exact compression if it is known; returns the legend entry.

    `place` is the first level at which a layer is empty; the mark is as high as the layer was before.
    """
    row = _first(item)
    name, exact, number = (
        row["first_empty_layer"],
        row["first_empty_at"],
        list(densities).index(row["first_empty_layer"]),
    )
    x = exact if np.isfinite(exact) else np.power(10.0, densities.index)[place]
    shown = densities.to_numpy()
    y = shown[place - 1, number] if place else shown[shown > 0].min()
    colour = _COLOURS(number / max(1, densities.shape[1] - 1))
    axes.plot(x, y, color=colour, marker="X", markersize=6, linestyle="", markeredgecolor="white", zorder=5,
              gid="first empty")  # fmt: skip
    label = f"{number + 1}: {name.removesuffix('.weight')}"
    axes.annotate(label, (x, y), xytext=(0, -9), textcoords="offset points", fontsize=6.5, ha="center")
    return [grey_line("first empty layer", linestyle="", marker="X", markersize=6)]


def _scale(panels: Sequence[Axes]) -> None:
    """Make the axes logarithmic, wide enough for all that is drawn."""
    points = np.concatenate([np.asarray(line.get_xydata()) for axes in panels for line in axes.lines])
    x, y = points[:, 0], points[points[:, 1] > 0, 1]
    for axes in panels:
        log_axis(axes, "x", x[x > 0].min() / 1.3, x.max() * _MARGIN)
        log_axis(axes, "y", np.nanmin(y) / (2 * _MARGIN), _MARGIN)


def _first(item: Series) -> dict[str, Any]:
    """The row of the first sample of a series."""
    return item.rows.sort_values("sample").to_dict("records")[0]  # type: ignore[return-value]  # names are texts


def _table(item: Series) -> pd.DataFrame:
    """The counts of the first sample of a series."""
    table = read_table(_first(item)["folder"], "levels")
    assert table is not None
    return table


def _densities(table: pd.DataFrame) -> pd.DataFrame:
    """The density of each layer, a column, at each exponent, the index."""
    table = table.assign(density=table["kept_direct"] / table["size"])
    return table.pivot(index="exponent", columns="layer", values="density")[table["layer"].unique()]
