"""Figure `class-change`: how pruning changes the accuracy of each class."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from Utils.figures.comparison.outcome_series import looks_of, study_table
from Utils.figures.look import GREY, NothingToDrawError, Style, add_legend, new_figure

_SPREAD = 0.6
"""Share of a class's place over which the groups are spread."""

_MOST_CLASSES = 20


def class_change(rows: pd.DataFrame, style: Style, title: str = "", order: Sequence[str] | None = None) -> Figure:
    """Change of each class's accuracy against the dense networks: means over samples, and one standard deviation.

    Of more than 20 classes, those with the largest mean change are drawn. Raises `NothingToDrawError` if no study has
    `class_accuracy.csv` of dense and of pruned networks.
    """
    table = study_table(rows, "class_accuracy", "no study has compared stored predictions (--save_predictions)")
    table = table[~table["is_dense"] & table["change"].notna()]
    changes = table.groupby(["group", "class"], sort=False)["change"].agg(["mean", "std"])
    groups = list(table["group"].unique())
    if not groups:
        raise NothingToDrawError("no study has compared the predictions of pruned networks with those of dense ones")
    largest = changes.loc[groups, "mean"].abs().groupby("class").mean().nlargest(_MOST_CLASSES)
    classes = sorted(largest.index)
    figure, axes = new_figure(title, size=(max(4.6, 0.35 * len(classes) + 1.2), 3.0))
    axis, handles = axes[0, 0], []
    axis.axhline(0, color=GREY, linewidth=0.8)
    for number, (group, look) in enumerate(looks_of(rows, groups).items()):
        part = changes.loc[group].reindex(classes)
        x = np.arange(len(classes)) + _SPREAD * ((number + 0.5) / len(groups) - 0.5)
        axis.errorbar(x, part["mean"], part["std"].fillna(0), linestyle="", linewidth=0.8, color=look["color"])
        handles += axis.plot(x, part["mean"], **look, linestyle="", gid=f"{group}|change")
    axis.set_xticks(range(len(classes)), [str(name) for name in classes])
    axis.set(xlabel="Class", ylabel="Change of accuracy")
    add_legend(figure, handles)
    return figure
