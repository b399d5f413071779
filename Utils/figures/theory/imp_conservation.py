"""Figure `imp-conservation`: the mean squared weight of each layer against the inverse of its size, by epoch."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from Utils.figures.look import BLUE, MOST_PANELS, NothingToDrawError, Style, add_legend, columns_size, new_figure
from Utils.figures.series import make_series
from Utils.figures.theory.inverse_sizes import geometric_mean, inverse_size_axes
from Utils.results.summaries import read_table

_COLOURS = "cool"
"""From blue, before training, to pink."""


def imp_conservation(rows: pd.DataFrame, style: Style, title: str = "", order: Sequence[str] | None = None) -> Figure:
    """Mean squared weight of each layer against its inverse size, a colour per epoch; log-log, dashed y ∝ x.

    One panel for each variant of settings, at most four; geometric means over samples. Titles have the first and the
    last slope. Raises `NothingToDrawError` if no run has `layer_weights.csv`.
    """
    variants = [
        (item, pd.concat(tables))
        for item in make_series(rows, lambda pruner: ("", BLUE, "o"))
        if (tables := [table for folder in item.rows["folder"] if (table := _read(folder)) is not None])
    ][:MOST_PANELS]
    if not variants:
        raise NothingToDrawError("these networks have no record of squared weights")
    epochs = Normalize(0, max(table["epoch"].max() for _, table in variants))
    size = columns_size(len(variants), 3.1)
    figure, axes = new_figure(title, 1, len(variants), size, sharex=True, sharey=True)
    for axis, (item, table) in zip(axes[0], variants, strict=True):
        means = table.groupby(["epoch", "layer"])[["inverse_size", "log"]].mean().reset_index()
        look = {"s": 9, "cmap": _COLOURS, "norm": epochs, "rasterized": True, "gid": f"{item.label}|layers"}
        axis.scatter(means["inverse_size"], np.exp(means["log"]), c=means["epoch"], **look)
        slopes = " → ".join(f"{item.rows[name].mean():.3g}" for name in ("first_slope", "last_slope"))
        axis.set_title("\n".join(filter(None, (item.label, f"slope {slopes}"))), fontsize=8)
    everything = pd.concat([table for _, table in variants])
    last = everything[everything["epoch"] == everything["epoch"].max()]
    crossing = geometric_mean(last["inverse_size"].to_numpy()), float(np.exp(last["log"].mean()))
    x, y = everything["inverse_size"].to_numpy(), np.exp(everything["log"].to_numpy())
    handles = [entry for axis in axes[0] for entry in inverse_size_axes(axis, x, y, crossing)]
    axes[0, 0].set_ylabel("Mean squared weight")
    bar = figure.colorbar(ScalarMappable(epochs, _COLOURS), ax=axes[0, -1])
    bar.set_label("Epoch", fontsize=9)
    bar.ax.tick_params(labelsize=8)
    add_legend(figure, handles)
    return figure


def _read(folder: str) -> pd.DataFrame | None:
    """The record of a run with the logarithms of its positive mean squares; None if it has none."""
    table = read_table(folder, "layer_weights")
    if table is None or not (table["mean_square"] > 0).any():
        return None
    table = table[table["mean_square"] > 0]
    return table.assign(log=np.log(table["mean_square"]))
