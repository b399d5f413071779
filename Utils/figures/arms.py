"""Figure `arms`: accuracy of each arm of the union-mask experiment at each target sparsity."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from Utils.config.choices import DENSE
from Utils.figures.look import NothingToDrawError, Style, add_legend, new_figure
from Utils.figures.scales import accuracy_axes
from Utils.figures.series import make_series


def arms(rows: pd.DataFrame, style: Style, title: str = "", order: Sequence[str] | None = None) -> Figure:
    """Test accuracy of each arm at each target sparsity: means and standard deviations over samples."""
    rows = rows[rows["pruner"] != DENSE]
    if "arm" not in rows or rows["arm"].dropna().nunique() < 2:
        raise NothingToDrawError("these networks are not of several arms")
    figure, axes = new_figure(title)
    axis = axes[0, 0]
    handles = []
    series = make_series(rows, style, order)
    targets = sorted(rows["target_sparsity"].unique())
    for index, item in enumerate(series):
        accuracy = item.rows.groupby("target_sparsity")["top1"]
        means = accuracy.mean().reindex(targets)
        spreads = accuracy.std().reindex(targets).fillna(0)
        x = np.arange(len(targets)) + (index - (len(series) - 1) / 2) * 0.6 / len(series)
        handles.append(axis.errorbar(x, means, spreads, capsize=3, **item.look(linestyle="", markersize=5.5)))
    axis.set_xticks(range(len(targets)), [f"{100 * target:.4g}%" for target in targets])
    axis.set_xlabel("Target sparsity")
    accuracy_axes([axis])
    add_legend(figure, handles)
    return figure
