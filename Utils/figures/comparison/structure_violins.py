"""Figures of the structure of units: violins of gaps, positions, runs, signs of runs and kernel scores by layer.

A row of panels for each group, a violin for each layer, with its mean; the samples of a group are pooled.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from Utils.figures.comparison.outcome_series import group_looks, study_table
from Utils.figures.layers import name_layers
from Utils.figures.look import NothingToDrawError, Style, add_legend, new_figure, wrapped

_POINTS = 120
"""Places at which the density of a violin is evaluated."""

_WIDTH = 0.85
_MEAN: dict[str, Any] = {"color": "black", "marker": "_", "linestyle": "", "markersize": 9, "markeredgewidth": 1.6}
_LACKING = "no study has analysed the structure of masks"


@dataclass(frozen=True)
class _Values:
    """Values, and how often each occurs; arrays of one shape."""

    values: np.ndarray
    counts: np.ndarray


_Read = Callable[[pd.DataFrame], _Values]


def gaps(rows: pd.DataFrame, style: Style, title: str = "", order: Sequence[str] | None = None) -> Figure:
    """The mean gap between the weights of a unit, on a logarithmic axis; units with two weights or more.

    Raises `NothingToDrawError` if no study has `unit_structure.csv`, as the other figures of units do.
    """
    table = _units(rows, "gap_mean")
    return _violins(table[table["weights"] > 1], _unit_values("gap_mean"), title, "Mean gap in a unit", is_log=True)


def positions(rows: pd.DataFrame, style: Style, title: str = "", order: Sequence[str] | None = None) -> Figure:
    """The positions of weights among the inputs of their unit, from 0 to 1.

    Raises `NothingToDrawError` if no study has `weight_positions.csv`.
    """
    table = study_table(rows, "weight_positions", _LACKING)
    return _violins(table, _binned, title, "Position in a unit")


def runs(rows: pd.DataFrame, style: Style, title: str = "", order: Sequence[str] | None = None) -> Figure:
    """The number of runs of consecutive weights in a unit, on a logarithmic axis; units with weights."""
    table = _units(rows, "runs")
    return _violins(table[table["runs"] > 0], _unit_values("runs"), title, "Runs in a unit", is_log=True)


def sign_ratios(rows: pd.DataFrame, style: Style, title: str = "", order: Sequence[str] | None = None) -> Figure:
    """The share of positive weights in runs of two weights or more; each run counts once.

    Raises `NothingToDrawError` if no study has `weight_clusters.csv`.
    """
    table = study_table(rows, "weight_clusters", _LACKING)
    table = table[(table["neighbours"] == 2) & (table["size"] > 1)]
    return _violins(table, _ratios, title, "Positive share of a run")


def kernel_scores(rows: pd.DataFrame, style: Style, title: str = "", order: Sequence[str] | None = None) -> Figure:
    """The graph score of a unit with 4 neighbours: the mean over those of its kernels that have weights."""
    name = "filled_graph_score_4"
    return _violins(_units(rows, name), _unit_values(name), title, "Graph score")


def _units(rows: pd.DataFrame, column: str) -> pd.DataFrame:
    table = study_table(rows, "unit_structure", _LACKING)
    if column not in table:
        raise NothingToDrawError("the variant `thesis` of the study does not have this statistic")
    return table


def _unit_values(column: str) -> _Read:
    def read(part: pd.DataFrame) -> _Values:
        values = part[column].dropna().to_numpy(float)
        return _Values(values, np.ones(len(values)))

    return read


def _binned(part: pd.DataFrame) -> _Values:
    return _Values(part[["low", "high"]].mean(axis=1).to_numpy(), part["count"].to_numpy(float))


def _ratios(part: pd.DataFrame) -> _Values:
    return _Values((part["positive"] / part["size"]).to_numpy(), part["count"].to_numpy(float))


def _violins(table: pd.DataFrame, read: _Read, title: str, label: str, is_log: bool = False) -> Figure:
    layers, looks = list(dict.fromkeys(table["layer"])), group_looks(table["group"])
    if not layers:
        raise NothingToDrawError("its networks have too few weights")
    size = (max(4.6, 2.0 + 0.36 * len(layers)), 0.7 + 1.35 * len(looks))
    figure, axes = new_figure(title, len(looks), 1, size, sharex=True, sharey=True)
    for panel, (group, look) in zip(axes[:, 0], looks.items(), strict=True):
        part = table[table["group"] == group]
        for place, layer in enumerate(layers):
            values = read(part[part["layer"] == layer])
            if values.counts.sum() > 0:
                _draw(panel, place, values, look["color"], is_log, f"{group}|{layer}")
        panel.set_title(wrapped(group, size[0]), fontsize=8, color=look["color"])
    if is_log:
        axes[0, 0].set_yscale("log")
    name_layers(axes[-1, 0], [str(layer) for layer in layers])
    figure.supylabel(label, fontsize=9)
    add_legend(figure, [Line2D([], [], **_MEAN, label="mean")])
    return figure


def _draw(axes: Axes, place: int, values: _Values, colour: str, is_log: bool, gid: str) -> None:
    """Draw one violin as wide as the density of the values, and their mean; a single value is a line."""
    scaled = np.log(values.values) if is_log else values.values
    used = scaled[values.counts > 0]
    y = np.linspace(used.min(), used.max(), _POINTS)
    density = _density(scaled, values.counts, y)
    half = _WIDTH / 2 * density / density.max()
    y = np.exp(y) if is_log else y
    axes.fill_betweenx(y, place - half, place + half, facecolor=colour, edgecolor=colour, alpha=0.55, linewidth=0.6)
    mean = np.average(values.values, weights=values.counts)
    axes.plot([place], [mean], **_MEAN, gid=gid)


def _density(values: np.ndarray, counts: np.ndarray, places: np.ndarray) -> np.ndarray:
    """The density of values by Gaussian kernels of Scott's bandwidth; constant if they do not vary."""
    share = counts / counts.sum()
    deviation = np.sqrt(share @ (values - share @ values) ** 2)
    if deviation < 1e-12:
        return np.ones(len(places))
    bandwidth = deviation * counts.sum() ** -0.2
    unique, index = np.unique(values, return_inverse=True)
    return np.exp(-((places[:, None] - unique) ** 2) / (2 * bandwidth**2)) @ np.bincount(index, share)
