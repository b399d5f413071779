"""Figure `group-densities`: density of each layer, means over the samples of each group."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from Utils.figures.comparison.outcome_series import looks_of, study_table
from Utils.figures.layers import density_axis, name_layers
from Utils.figures.look import BAND, Style, add_legend, grey_line, new_figure

OVERALL = "overall"
"""The row of all layers together, which the figure leaves out."""


def layer_densities(rows: pd.DataFrame, style: Style, title: str = "", order: Sequence[str] | None = None) -> Figure:
    """Effective (solid) and kept (dashed) density of each layer; bands of one standard deviation of the effective one.

    A cross marks a layer without effective weights. Raises `NothingToDrawError` if no study has `densities.csv`.
    """
    table = study_table(rows, "densities", "no study has compared the masks of networks")
    table = table[table["layer"] != OVERALL]
    layers = list(dict.fromkeys(table["layer"]))
    figure, ((axes,),) = new_figure(title, 0, 0, (max(4.6, 2.4 + 0.22 * len(layers)), 3.2))
    x = name_layers(axes, [str(layer) for layer in layers])
    handles: list[Any] = []
    looks = looks_of(rows, table["group"])
    for group, look in looks.items():
        part = table[table["group"] == group]
        kept, effective = (_of(part, f"{kind}_density", layers) for kind in ("kept", "effective"))
        axes.plot(x, kept["mean"], color=look["color"], linestyle="--", linewidth=0.9, alpha=0.7, gid=f"{group}|kept")
        handles += axes.plot(x, effective["mean"], **look, gid=f"{group}|effective")
    is_empty = density_axis([axes])
    for group, look in looks.items():
        part = _of(table[table["group"] == group], "effective_density", layers)
        _draw_band(axes, x, part, look["color"])
    axes.set_ylabel("Density")
    handles += [grey_line("effective"), grey_line("kept", linestyle="--")]
    handles += [grey_line("nothing effective", marker="X", linestyle="")] if is_empty else []
    add_legend(figure, handles)
    return figure


def _of(part: pd.DataFrame, metric: str, layers: list[str]) -> pd.DataFrame:
    return part[part["metric"] == metric].set_index("layer").reindex(layers)


def _draw_band(axes: Axes, x: np.ndarray, part: pd.DataFrame, colour: str) -> None:
    """Fill one standard deviation to both sides, down to the end of the logarithmic axis."""
    low, high = part["mean"] - part["sd"], part["mean"] + part["sd"]
    is_drawn = (high > 0).to_numpy()
    lowest = axes.get_ylim()[0]
    axes.fill_between(x, low.clip(lower=lowest), high, where=is_drawn, color=colour, alpha=BAND, linewidth=0)
