"""Figure `overlaps`: intersection over union of the masks of each pair of cycles."""

from collections.abc import Sequence

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from Utils.config.choices import DENSE
from Utils.figures.look import MOST_PANELS, NothingToDrawError, Style, level_title, new_figure, spread
from Utils.figures.series import make_series
from Utils.results.summaries import read_table


def overlaps(rows: pd.DataFrame, style: Style, title: str = "", order: Sequence[str] | None = None) -> Figure:
    """Intersection over union of the masks of each pair of cycles, one panel per pruner and target.

    At most four targets per pruner are shown, each with its lowest sample. Raises `NothingToDrawError` if no run has
    `overlaps.csv`.
    """
    rows = rows[rows["pruner"] != DENSE]
    panels = []
    for item in make_series(rows, style, order):
        for level in spread(sorted(item.rows["target_compression"].unique()), MOST_PANELS):
            runs = item.at(level).sort_values("sample")
            table = read_table(runs["folder"].iloc[0], "overlaps")
            if table is not None:
                panels.append((item.label, level, table))
    if not panels:
        raise NothingToDrawError("these networks have no masks of several cycles")
    figure, axes = new_figure(title, 1, len(panels), (1.4 + 2.2 * len(panels), 2.9), sharey=True)
    lowest = min(table["overlap"].min() for _, _, table in panels)
    for axis, (label, level, table) in zip(axes[0], panels, strict=True):
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
