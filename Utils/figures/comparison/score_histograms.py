"""Figure `score-histograms`: scores of supermasks after the search."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from Utils.figures.comparison.outcome_series import looks_of, study_table
from Utils.figures.look import MOST_PANELS, Style, add_legend, grey_line, new_figure, spread

_KINDS = {"free": "-", "frozen": "--"}


def score_histograms(rows: pd.DataFrame, style: Style, title: str = "", order: Sequence[str] | None = None) -> Figure:
    """Shares of the entries of a layer by score, over all samples of a group: free (solid) and frozen out (dashed).

    At most four layers. Raises `NothingToDrawError` if no study has `score_histograms.csv`.
    """
    table = study_table(rows, "score_histograms", "no study has the scores of supermasks")
    layers = list(dict.fromkeys(table["layer"]))
    layers = [layers[int(place)] for place in spread(range(len(layers)), MOST_PANELS)]
    looks = looks_of(rows, table["group"])
    figure, axes = new_figure(title, 1, len(layers), (1.4 + 2.1 * len(layers), 2.8), sharey=True)
    for panel, layer in zip(axes[0], layers, strict=True):
        panel.set_title(str(layer), fontsize=8)
        panel.set_xlabel("Score")
        for group, look in looks.items():
            part = table[(table["group"] == group) & (table["layer"] == layer)]
            if len(part):
                _draw(panel, part, look["color"], group)
    axes[0, 0].set_yscale("log")
    axes[0, 0].set_ylabel("Share of entries")
    colours = [Line2D([], [], color=look["color"], label=group) for group, look in looks.items()]
    kinds = [
        grey_line(label, linestyle=line) for label, line in zip(("free", "frozen out"), _KINDS.values(), strict=True)
    ]
    add_legend(figure, [*colours, *kinds])
    return figure


def _draw(axes: Axes, part: pd.DataFrame, colour: str, group: str) -> None:
    sums = part.groupby(["low", "high"])[list(_KINDS)].sum().reset_index()
    edges = np.append(sums["low"], sums["high"].iloc[-1:])
    for kind, line in _KINDS.items():
        shares = sums[kind].to_numpy() / max(sums[list(_KINDS)].to_numpy().sum(), 1)
        if shares.any():
            axes.stairs(
                np.where(shares > 0, shares, np.nan), edges, color=colour, linestyle=line, gid=f"{group}|{kind}"
            )
