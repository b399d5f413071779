"""Figure `quotas`: density of each layer under several pruners, a panel for each compression."""

from collections.abc import Sequence
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from Utils.figures.layers import density_axis, name_layers
from Utils.figures.look import MOST_PANELS, Style, add_legend, columns_size, grey_line, new_figure, spread
from Utils.figures.series import Series, make_series, rows_with
from Utils.results.summaries import read_table


def quotas(rows: pd.DataFrame, style: Style, title: str = "", order: Sequence[str] | None = None) -> Figure:
    """Density of each layer: means over samples, a cross for an empty layer; one panel per exponent, at most four.

    Raises `NothingToDrawError` if no run has `levels.csv`.
    """
    rows = rows_with(rows, "levels", "these runs have no levels.csv")
    series = [(item, _densities(item)) for item in make_series(rows, style, order)]
    exponents = spread(sorted({exponent for _, table in series for exponent in table.index}), MOST_PANELS)
    size = columns_size(len(exponents), 2.6)
    figure, ((*panels,),) = new_figure(title, 1, len(exponents), size, sharey=True)
    handles: list[Any] = []
    for axes, exponent in zip(panels, exponents, strict=True):
        axes.set_title(f"{10**exponent:.4g}x", fontsize=8)
        for item, table in series:
            handles += _draw(axes, item, table, exponent)
    if density_axis(panels):
        handles.append(grey_line("empty", marker="X", linestyle=""))
    panels[0].set_ylabel("Density")
    add_legend(figure, handles)
    return figure


def _draw(axes: Axes, item: Series, densities: pd.DataFrame, exponent: float) -> list[Any]:
    """Draw one pruner in one panel; returns its line, nothing if its runs do not have the exponent."""
    if exponent not in densities.index:
        return []
    x = name_layers(axes, [str(name) for name in densities])
    return axes.plot(x, densities.loc[exponent], **item.look(linestyle="-", gid=item.label))


def _densities(item: Series) -> pd.DataFrame:
    """The mean density over samples of each layer, a column, at each exponent, the index."""
    table = pd.concat([read_table(folder, "levels") for folder in item.rows["folder"]])
    table["density"] = table["kept_direct"] / table["size"]
    means = table.pivot_table(index="exponent", columns="layer", values="density")
    return means[table["layer"].unique()]
