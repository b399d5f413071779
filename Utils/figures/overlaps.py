"""Figure `overlaps`: intersection over union of the masks of every two cycles."""

from collections.abc import Sequence

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from Utils.config.choices import DENSE
from Utils.figures.look import NothingToDrawError, Style, level_title, new_figure, spread
from Utils.figures.series import make_series
from Utils.figures.variants import MOST_PANELS
from Utils.results.summaries import read_table


def overlaps(rows: pd.DataFrame, style: Style, title: str = "", order: Sequence[str] | None = None) -> Figure:
    """Intersection over union of the masks of every two cycles, for each target, at most four; the lowest sample."""
    rows = rows[rows["pruner"] != DENSE]
    found = []
    for item in make_series(rows, style, order):
        for level in spread(sorted(item.rows["target_compression"].unique()), MOST_PANELS):
            runs = item.at(level).sort_values("sample")
            table = read_table(runs["folder"].iloc[0], "overlaps")
            if table is not None:
                found.append((item.label, level, table))
    if not found:
        raise NothingToDrawError("these networks have no masks of several cycles")
    figure, axes = new_figure(title, 1, len(found), (1.4 + 2.2 * len(found), 2.9), sharey=True)
    lowest = min(table["overlap"].min() for _, _, table in found)
    for axis, (label, level, table) in zip(axes[0], found, strict=True):
        square = table.pivot(index="cycle", columns="other", values="overlap").to_numpy()
        extent = (0.5, len(square) + 0.5, len(square) + 0.5, 0.5)
        axis.imshow(square, vmin=lowest, vmax=1, cmap="viridis", extent=extent, gid=f"{label}|{level}")
        axis.grid(False)
        axis.set_xlabel("Cycle")
        for ticks in (axis.xaxis, axis.yaxis):
            ticks.set_major_locator(MaxNLocator(5, integer=True))
        level_title(axis, level)
    axes[0, 0].set_ylabel("Cycle")
    figure.colorbar(axes[0, 0].images[0], ax=list(axes[0]), label="Intersection over union")
    return figure
