"""Figure `effective-gap`: effective against direct compression, dead units and structural rank over whole orders."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from Utils.figures.look import GREY, Style, add_legend, grey_line, new_figure
from Utils.figures.scales import log_axis
from Utils.figures.series import Series, make_series, marks, rows_with
from Utils.results.summaries import read_table

_MARGIN = 1.5
"""Factor by which the axis of effective compression extends beyond its points."""


def effective_gap(rows: pd.DataFrame, style: Style, title: str = "", order: Sequence[str] | None = None) -> Figure:
    """Effective compression, share of dead units and structural rank against direct compression, to disconnection.

    Further samples are faint; an order is dashed beyond the target that it was made for. Raises `NothingToDrawError` if
    no run has `gap.csv`.
    """
    series = make_series(rows_with(rows, "gap", "these runs have no gap.csv"), style, order)
    figure, grid = new_figure(title, 3, 1, (4.6, 5.4), sharex=True, height_ratios=(2, 1, 1))
    panels = list(grid[:, 0])
    handles = [_draw(panels, item, index) for index, item in enumerate(series)]
    points = np.concatenate([line.get_xydata() for line in panels[0].lines])
    furthest = points[:, 0].max()
    ends = log_axis(panels[0], "x", 1 / 1.3, furthest * _MARGIN)
    log_axis(panels[0], "y", 1 / 1.3, points[:, 1].max() * _MARGIN)
    diagonal = panels[0].plot(ends, ends, color=GREY, linestyle=":", linewidth=1, label="effective = direct", zorder=1)
    panels[0].set_ylabel("Effective compression")
    panels[1].set(ylabel="Dead units", ylim=(-0.03, 1.03))
    panels[2].set(ylabel="Structural rank", xlabel="Direct compression")
    panels[2].set_ylim(bottom=0)
    handles += [*diagonal, grey_line("disconnected beyond", linestyle="", marker="X", markersize=6)]
    if any(line.get_gid() == "beyond" for line in panels[0].lines):
        handles.append(grey_line("beyond the target", linestyle="--"))
    add_legend(figure, handles)
    return figure


def _draw(panels: Sequence[Axes], item: Series, index: int) -> Any:
    """Draw all samples of a pruner in the three panels; returns the line of the first, for the legend."""
    first: Any = None
    for row in item.rows.sort_values("sample").to_dict("records"):
        table = read_table(row["folder"], "gap")
        assert table is not None
        table = table[np.isfinite(table["effective_compression"])]
        x, target = table["direct_compression"], row["target_compression"]
        # The order of a criterion in rounds is that of its target; one without a target serves all compressions.
        within = x <= target if target > 1 else x > 0
        beyond = ~within.shift(-1, fill_value=False)
        look = item.look() if first is None else item.faint(marker="", linestyle=item.linestyle)
        look |= {"markevery": marks(len(table), index), "gid": item.label}
        for axes, column in zip(panels, ("effective_compression", "dead_share", "structural_rank"), strict=True):
            (line,) = axes.plot(x[within], table[column][within], **look)
            first = first or line
            if not within.all():
                axes.plot(x[beyond], table[column][beyond], **item.faint(linestyle="--", marker="", gid="beyond"))
        end = table.iloc[-1]
        panels[0].plot(end["direct_compression"], end["effective_compression"], color=item.colour, marker="X",
                       markersize=6, markeredgecolor="white", linestyle="", zorder=4, gid="disconnected")  # fmt: skip
    return first
