"""Figure `overlaps`: intersection over union of the masks of each pair of cycles."""

from collections.abc import Sequence

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from Utils.figures.look import MOST_PANELS, Style, level_title, new_figure, spread
from Utils.figures.series import make_series, rows_with
from Utils.results.summaries import read_table


def overlaps(rows: pd.DataFrame, style: Style, title: str = "", order: Sequence[str] | None = None) -> Figure:
    """Intersection over union of the masks of each pair of cycles: a row of panels per series, a column per target.

    At most four targets are shown, each with its lowest sample. Raises `NothingToDrawError` if no run has
    `overlaps.csv`.
    """
    rows = rows_with(rows, "overlaps", "these networks have no masks of several cycles")
    levels = spread(sorted(rows["target_compression"].unique()), MOST_PANELS)
    series = make_series(rows[rows["target_compression"].isin(levels)], style, order)
    size = (1.4 + 2.2 * len(levels), 0.5 + 2.3 * len(series))
    figure, axes = new_figure(title, len(series), len(levels), size)
    for line, item in zip(axes, series, strict=True):
        for axis, level in zip(line, levels, strict=True):
            runs = item.at(level).sort_values("sample")
            if runs.empty:
                axis.set_visible(False)
                continue
            table = read_table(runs["folder"].iloc[0], "overlaps")
            square = table.pivot(index="cycle", columns="other", values="overlap").to_numpy()  # type: ignore[union-attr]
            extent = (0.5, len(square) + 0.5, len(square) + 0.5, 0.5)
            axis.imshow(square, vmax=1, cmap="viridis", extent=extent, gid=f"{item.label}|{level}")
            axis.grid(False)
            axis.set(xlabel="Cycle", ylabel="Cycle")
            for ticks in (axis.xaxis, axis.yaxis):
                ticks.set_major_locator(MaxNLocator(5, integer=True))
            level_title(axis, level, item.label if len(series) > 1 else "")
    images = [image for axis in axes.flat for image in axis.images]
    lowest = min(image.get_array().min() for image in images)
    for image in images:
        image.set_clim(lowest, 1)
    figure.colorbar(images[0], ax=list(axes.flat), label="Intersection over union")
    return figure
