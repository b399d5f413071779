"""Figures `unit-correlations` and `matched-units`: correlations of the units of two networks, as they are matched."""

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from Utils.figures.comparison.images import DIVERGING, show
from Utils.figures.comparison.outcome_series import study_table
from Utils.figures.look import BLUE, MOST_PANELS, RED, Style, add_legend, new_figure, spread

_MOST_PAIRS = 5

_COLOURS = Normalize(-1, 1)

_LOOK = {"semi_correlation": ("semi-matching", BLUE, "-"), "correlation": ("one-to-one matching", RED, "--")}


def unit_correlations(rows: pd.DataFrame, style: Style, title: str = "", order: Sequence[str] | None = None) -> Figure:
    """Correlations of the units of two networks (rows of a matrix) with their partners, in the order of their match.

    A line of panels for each of at most five pairs of networks, a column per layer. Matched units lie on the diagonal.
    Raises `NothingToDrawError` without a finished study.
    """
    figure, panels = _panels(study_table(rows, "unit_correlations"), title, (1.5, 1.45))
    for axes, table in panels:
        size = table["row"].max() + 1
        image = table.pivot(index="row", columns="column", values="correlation").to_numpy().reshape(size, size)
        show(axes, image, cmap=DIVERGING, norm=_COLOURS, gid="|".join(_key(table)))
    bar = figure.colorbar(ScalarMappable(_COLOURS, DIVERGING), ax=figure.axes, shrink=0.7)
    bar.set_label("Correlation", fontsize=8)
    return figure


def matched_units(rows: pd.DataFrame, style: Style, title: str = "", order: Sequence[str] | None = None) -> Figure:
    """Correlation of each unit with its partner, the units in the order of their highest correlation.

    A line of panels for each of at most five pairs of networks, a column per layer; dead units have correlation 0.
    Raises `NothingToDrawError` without a finished study.
    """
    figure, panels = _panels(study_table(rows, "matched_units"), title, (1.8, 1.4), sharey=True)
    handles = []
    for axes, table in panels:
        table = table.sort_values("semi_correlation", ascending=False, kind="stable")
        for column, (label, colour, line) in _LOOK.items():
            values = table[column].to_numpy()
            gid = "|".join((*_key(table), column))
            look = {"color": colour, "linestyle": line, "label": label, "gid": gid, "linewidth": 1}
            axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
            handles += axes.plot(np.arange(1, len(values) + 1), values, **look)
    for axes in figure.axes[-len({table["layer"].iloc[0] for _, table in panels}) :]:
        axes.set_xlabel("Unit", fontsize=7)
    add_legend(figure, handles)
    return figure


def _panels(
    table: pd.DataFrame, title: str, size: tuple[float, float], **grid: bool
) -> tuple[Figure, list[tuple[Axes, pd.DataFrame]]]:
    """A line of panels per pair, a column per layer, with their rows of the table."""
    pairs = [(str(first), str(second)) for first, second in table[["first", "second"]].drop_duplicates().to_numpy()]
    pairs = pairs[:_MOST_PAIRS]
    names = list(table["layer"].astype(str).unique())
    layers = [names[round(place)] for place in spread(list(range(len(names))), MOST_PANELS)]
    shape = len(pairs), len(layers)
    figure, axes = new_figure(title, *shape, (1.4 + size[0] * shape[1], 0.5 + size[1] * shape[0]), **grid)
    for line, (first, second) in zip(axes, pairs, strict=True):
        line[0].set_ylabel(f"{first}\nand {second}", fontsize=6.5)
    for column, layer in zip(axes.T, layers, strict=True):
        column[0].set_title(layer, fontsize=8)
    return figure, list(zip(axes.flat, _parts(table, pairs, layers), strict=True))


def _parts(table: pd.DataFrame, pairs: Sequence[tuple[str, str]], layers: Sequence[str]) -> Iterator[pd.DataFrame]:
    for first, second in pairs:
        for layer in layers:
            is_part = (table["first"] == first) & (table["second"] == second) & (table["layer"].astype(str) == layer)
            yield table[is_part]


def _key(table: pd.DataFrame) -> tuple[str, str, str]:
    first, second, layer = table[["first", "second", "layer"]].iloc[0].astype(str)
    return first, second, layer
