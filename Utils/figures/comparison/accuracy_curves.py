"""Figure `accuracy-curves`: top-1 accuracy and test loss over training, means with bands of one standard deviation."""

from collections.abc import Sequence

import pandas as pd
from matplotlib.figure import Figure

from Utils.figures.comparison.outcome_series import looks_of, study_table
from Utils.figures.look import BAND, Style, add_legend, new_figure
from Utils.figures.series import marks

_PANELS = {"top1": "Top-1 accuracy", "test_loss": "Test loss"}


def accuracy_curves(rows: pd.DataFrame, style: Style, title: str = "", order: Sequence[str] | None = None) -> Figure:
    """Top-1 (above) and test loss (below) against the iteration, a curve for each group of compared networks.

    Bands reach one standard deviation of the samples to both sides. Raises `NothingToDrawError` if no study has
    `curves.csv`.
    """
    table = study_table(rows, "curves", "no study has compared the training of networks")
    figure, axes = new_figure(title, 2, 1, (4.6, 4.6), sharex=True)
    handles = []
    for axis, (metric, label) in zip(axes[:, 0], _PANELS.items(), strict=True):
        part = table[table["metric"] == metric]
        for number, (group, look) in enumerate(looks_of(rows, table["group"]).items()):
            curve = part[part["group"] == group].sort_values("iteration")
            x, mean, sd = (curve[name] for name in ("iteration", "mean", "sd"))
            axis.fill_between(x, mean - sd, mean + sd, color=look["color"], alpha=BAND, linewidth=0)
            handles += axis.plot(x, mean, **look, markevery=marks(len(curve), number), gid=f"{group}|{metric}")
        axis.set_ylabel(label)
    axes[-1, 0].set_xlabel("Iteration")
    add_legend(figure, handles)
    return figure
