"""Figures of distances between networks: `network-distances`, and by layer `layer-distances`."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from Utils.figures.comparison.outcome_series import few_pairs, group_looks, study_table
from Utils.figures.layers import name_layers
from Utils.figures.look import Style, add_legend, columns_size, grey_line, new_figure

MEASURES = {"ned": "NED (positions)", "sasd": "SaSD (positions and signs)", "maed": "MAED (values)"}
"""Titles of the measures."""

_MISSING = "no study has compared the weights of networks"

_PRINTED = 10
"""Most networks whose distances are printed."""

_DARK = 0.6
"""Share of the colour scale below which colours are dark."""

_LETTER, _CELL, _PRINTED_CELL = 0.065, 0.13, 0.3
"""Inches of a letter of a label, of a cell, and of a cell with its value."""

_VALUES = {"distance": "", "null_mean": ", random networks"}
"""Columns that are drawn, and what they add to the title of a measure."""


def network_distances(rows: pd.DataFrame, style: Style, title: str = "", order: Sequence[str] | None = None) -> Figure:
    """Heat maps of the distances of all networks, in clustered order: a row per measure.

    Beside them are the distances of random networks with the same densities, in the same order and colours, which begin
    below the least distance of two networks. Raises `NothingToDrawError` if no study has `network_distances.csv`.
    """
    table, places = (study_table(rows, name, _MISSING) for name in ("network_distances", "distance_order"))
    table = table[table["reduction"] == table["reduction"].iloc[0]]
    measures = list(dict.fromkeys(table["measure"]))
    values = [name for name in _VALUES if table[name].notna().any()]
    count = int((places["measure"] == measures[0]).sum())
    side = max(2.4, (_PRINTED_CELL if count <= _PRINTED else _CELL) * count)
    margin = _LETTER * int(places["network"].str.len().max()) + 0.2
    size = ((side + 0.2) * len(values) + margin + 0.8, (side + 0.3) * len(measures) + margin)
    figure, axes = new_figure(title, len(measures), len(values), size)
    lowest = np.floor(10 * table[values].min().min()) / 10
    for row, measure in zip(axes, measures, strict=True):
        part = table[table["measure"] == measure]
        names = list(places[places["measure"] == measure].sort_values("place")["network"])
        for panel, value in zip(row, values, strict=True):
            image = _draw_matrix(panel, _matrix(part, names, value), lowest)
            image.set_gid(f"{measure}|{value}")
            panel.set_xticks(range(count), names if row is axes[-1] else [], rotation=90)
            panel.set_yticks(range(count), names if panel is row[0] else [])
            panel.set_title(f"{MEASURES.get(measure, measure)}{_VALUES[value]}", fontsize=8)
            panel.tick_params(labelsize=8 if count <= _PRINTED else 6)
    figure.colorbar(axes[0, 0].images[0], ax=list(axes.flat), label="Distance", shrink=0.5)
    return figure


def layer_distances(rows: pd.DataFrame, style: Style, title: str = "", order: Sequence[str] | None = None) -> Figure:
    """Distance by layer: a panel per measure, a line per pair of groups, means over their pairs of networks.

    Dashed lines are those of random networks with the same densities. Of many pairs of groups, those of one group are
    drawn. Raises `NothingToDrawError` if no study has
    `layer_distances.csv`.
    """
    table = study_table(rows, "layer_distances", _MISSING)
    table = table[table["reduction"] == table["reduction"].iloc[0]]
    pairs = [
        " and ".join(dict.fromkeys(sorted(pair)))
        for pair in zip(table["first_group"], table["second_group"], strict=True)
    ]
    table = few_pairs(table.assign(pair=pairs))
    measures, layers = list(dict.fromkeys(table["measure"])), list(dict.fromkeys(table["layer"]))
    figure, axes = new_figure(title, 1, len(measures), columns_size(len(measures), 3.2), sharey=True)
    handles: list[Any] = []
    for panel, measure in zip(axes[0], measures, strict=True):
        for pair, look in group_looks(table["pair"]).items():
            part = table[(table["measure"] == measure) & (table["pair"] == pair)]
            means = part.groupby("layer")[["distance", "null_mean"]].mean().reindex(layers)
            handles += panel.plot(means["distance"].to_numpy(), **look, gid=f"{measure}|{pair}|distance")
            panel.plot(means["null_mean"].to_numpy(), color=look["color"], linestyle="--", linewidth=0.9,
                       gid=f"{measure}|{pair}|null_mean")  # fmt: skip
        panel.set_title(MEASURES.get(measure, measure), fontsize=8)
        name_layers(panel, [str(layer) for layer in layers])
    axes[0, 0].set_ylabel("Distance")
    if table["null_mean"].notna().any():
        handles.append(grey_line("random networks", linestyle="--"))
    add_legend(figure, handles)
    return figure


def _matrix(part: pd.DataFrame, names: Sequence[str], value: str) -> np.ndarray:
    """The symmetric matrix of a column; its diagonal is 0 for distances, and unknown for those of random networks."""
    matrix = np.full((len(names), len(names)), 0.0 if value == "distance" else np.nan)
    places = {name: place for place, name in enumerate(names)}
    first, second = (part[key].map(places) for key in ("first", "second"))
    matrix[first, second] = matrix[second, first] = part[value]
    return matrix


def _draw_matrix(panel: Axes, matrix: np.ndarray, lowest: float) -> Any:
    lowest = min(lowest, 0.9)
    image = panel.imshow(matrix, cmap="viridis", vmin=lowest, vmax=1)
    panel.grid(False)
    panel.spines[:].set_visible(False)
    panel.tick_params(length=0)
    if len(matrix) <= _PRINTED:
        for row, column in np.argwhere(~np.isnan(matrix) & ~np.eye(len(matrix), dtype=bool)):
            number = matrix[row, column]
            colour = "white" if (number - lowest) / (1 - lowest) < _DARK else "black"
            panel.text(column, row, f"{number:.2f}".lstrip("0"), ha="center", va="center", fontsize=6.5, color=colour)
    return image
