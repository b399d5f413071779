"""Figures of the demo: target against achieved compression, and accuracy against both compressions."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from Utils.figures.look import GREY, Style, add_legend, grey_line, new_figure
from Utils.figures.scales import accuracy_axes, chance_level

_SIZE = (6.6, 2.7)


def reached(rows: pd.DataFrame, style: Style) -> Figure:
    """Effective compression at direct targets (left), and direct compression at effective targets (right)."""
    figure, axes = new_figure("LeNet-300-100 before training: two ways to count what pruning removes", 1, 2, _SIZE)
    left, right = axes[0]
    ends = [rows["target_compression"].min(), rows["target_compression"].max()]
    handles: list[Any] = []
    for index, name in enumerate(rows["pruner"].unique()):
        label, colour, marker = style(name)
        pruner_rows = rows[rows["pruner"] == name]
        for panel, kind, line in ((left, "direct", "--"), (right, "effective", "-")):
            part = pruner_rows[pruner_rows["pruning_type"] == kind]
            other = "effective_compression" if kind == "direct" else "direct_compression"
            handles += panel.plot(
                part["target_compression"], part[other].replace(np.inf, np.nan), linestyle=line, color=colour,
                marker=marker, markersize=3, label=label, gid=f"{label}|{kind}",
            )  # fmt: skip
            if kind == "direct":
                _mark_collapsed(panel, part, colour, index)
    for panel in (left, right):
        panel.plot(ends, ends, color=GREY, linestyle=":", linewidth=1)
        panel.set(xscale="log", yscale="log")
    left.set(xlabel="Direct compression (target)", ylabel="Effective compression")
    right.set(xlabel="Effective compression (target)", ylabel="Direct compression")
    extra = [
        grey_line("both are equal", linestyle=":", linewidth=1),
        grey_line("collapsed: no path is left", marker="X", linestyle=""),
    ]
    add_legend(figure, [*[handle for handle in handles if handle.get_linestyle() == "-"], *extra])
    return figure


def accuracy_follows(rows: pd.DataFrame, style: Style) -> Figure:
    """Accuracy against direct (left) and effective compression (right); only the right is close to a single curve."""
    title = "LeNet-300-100 on digits, trained after pruning to direct targets"
    figure, axes = new_figure(title, 1, 2, _SIZE, sharey=True)
    handles: list[Any] = []
    widest = rows["effective_compression"].replace(np.inf, np.nan).max()
    # Collapsed networks have no finite effective compression; they are marked at the right edge.
    edge = 3 * max(widest, rows["direct_compression"].max())
    for name in rows["pruner"].unique():
        label, colour, marker = style(name)
        pruner_rows = rows[rows["pruner"] == name].sort_values("target_compression")
        handles.append(Line2D([], [], color=colour, marker=marker, linestyle="", label=label))
        for panel, kind in zip(axes[0], ("direct", "effective"), strict=True):
            x = pruner_rows[f"{kind}_compression"].replace(np.inf, edge)
            panel.plot(x, pruner_rows["top1"], color=colour, marker=marker, markersize=5, linestyle="", alpha=0.85,
                       gid=f"{label}|{kind}")  # fmt: skip
    collapsed = rows["collapsed"].astype(bool)
    if collapsed.any():
        axes[0, 1].plot(np.full(collapsed.sum(), edge), rows.loc[collapsed, "top1"], color=GREY, marker="X",
                        linestyle="", markersize=8, alpha=0.6)  # fmt: skip
        handles.append(grey_line("collapsed (infinite)", marker="X", linestyle=""))
    for panel, kind in zip(axes[0], ("Direct", "Effective"), strict=True):
        panel.set(xscale="log", xlabel=f"{kind} compression")
    add_legend(figure, [*handles, *accuracy_axes(axes[0], chance_level(rows))])
    return figure


def _mark_collapsed(axes: Axes, part: pd.DataFrame, colour: str, index: int) -> None:
    """Mark infinite effective compressions by crosses at the upper edge, on one line per pruner."""
    targets = part.loc[np.isinf(part["effective_compression"]), "target_compression"]
    height = 0.98 - 0.035 * index
    axes.plot(targets, np.full(len(targets), height), transform=axes.get_xaxis_transform(), color=colour, marker="X",
              linestyle="", markersize=4, gid="collapsed")  # fmt: skip
