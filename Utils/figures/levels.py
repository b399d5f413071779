"""Figure `levels`: accuracy against the density of each level of a multishot run."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from Utils.config.choices import DENSE
from Utils.figures.look import BAND, NothingToDrawError, Style, add_legend, grey_line, new_figure, spread
from Utils.figures.series import make_series
from Utils.figures.variants import coloured
from Utils.results.summaries import read_table

_SMALLEST_BAND = 2
"""Number of samples from which on a band is drawn."""


def levels(rows: pd.DataFrame, style: Style, title: str = "", order: Sequence[str] | None = None) -> Figure:
    """Test accuracy against the density of each level, with rewound (solid) and new initial weights (dashed).

    Means over samples, bands from the lowest to the highest. Raises `NothingToDrawError` if no run has `levels.csv`.
    """
    figure, axes = new_figure(title)
    axis = axes[0, 0]
    handles: list[Any] = []
    is_new = False
    for item, colour in coloured(make_series(rows[rows["pruner"] != DENSE], style, order)):
        tables = [read_table(folder, "levels") for folder in item.rows["folder"]]
        samples = [table for table in tables if table is not None]
        if not samples:
            continue
        table = pd.concat(samples)
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
    labelled = [handle for handle in handles if handle.get_label() and not handle.get_label().startswith("_")]
    extra = [grey_line("rewound"), grey_line("from other initial weights", linestyle="--")] if is_new else []
    add_legend(figure, [*labelled, *extra])
    return figure


def _percent_ticks(axis: Axes, densities: Sequence[float]) -> None:
    """Label at most eight of the densities as percentages."""
    ticks = spread(sorted({round(float(density), 6) for density in densities}), 8)
    axis.set_xticks(ticks, [f"{100 * density:.3g}" for density in ticks])
    axis.xaxis.set_minor_formatter(NullFormatter())
    axis.minorticks_off()
