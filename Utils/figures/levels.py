"""Figure `levels`: accuracy against the density of each level of a multishot run."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from Utils.figures.look import Style, add_legend, draw_band, grey_line, new_figure, spread
from Utils.figures.scales import accuracy_axes
from Utils.figures.series import make_series, rows_with
from Utils.results.summaries import read_table


def levels(rows: pd.DataFrame, style: Style, title: str = "", order: Sequence[str] | None = None) -> Figure:
    """Test accuracy against the density of each level, with rewound (solid) and new initial weights (dashed).

    Means over samples, bands from the lowest to the highest. Raises `NothingToDrawError` if no run has `levels.csv`.
    """
    rows = rows_with(rows, "levels", "these networks were not pruned level by level")
    figure, axes = new_figure(title)
    axis = axes[0, 0]
    handles: list[Any] = []
    is_new = False
    for item in make_series(rows, style, order):
        table = pd.concat([read_table(folder, "levels") for folder in item.rows["folder"]])
        for weights, linestyle in (("rewound", "-"), ("new", "--")):
            part = table[table["weights"].isin([weights, "initial"])]
            if weights not in set(table["weights"]):
                continue
            is_new |= weights == "new"
            by_level = part.groupby("level")
            densities, top1 = 1 - by_level["direct_sparsity"].mean(), by_level["top1"]
            draw_band(axis, densities, top1, item.colour)
            look = item.faint if weights == "new" else item.look
            handles += axis.plot(densities, top1.mean(), **look(linestyle=linestyle, gid=f"{item.label}|{weights}"))
    axis.set(xscale="log", xlabel="Weights left (%, log scale)")
    accuracy_axes([axis])
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
