"""Figure `weights-and-units`: accuracy and loss of a trained network against the pruned share of weights and units."""

import itertools
from collections.abc import Sequence

import pandas as pd
from matplotlib.figure import Figure

from Utils.figures.look import BAND, BLUE, RED, NothingToDrawError, Style, add_legend, new_figure
from Utils.figures.variants import LINE_STYLES, variant_tables

_LABELS = {"Weight": "single weights", "Unit": "whole units"}


def weights_and_units(rows: pd.DataFrame, style: Style, title: str = "", order: Sequence[str] | None = None) -> Figure:
    """Test accuracy (left) and loss (right) against the pruned share of weights and of units.

    Means over samples, bands from the lowest to the highest. Raises `NothingToDrawError` if no run has `results.csv`.
    """
    figure, axes = new_figure(title, 1, 2, (6.4, 3.1))
    handles = []
    variants = variant_tables(rows, "results")
    for (label, tables), linestyle in zip(variants, itertools.cycle(LINE_STYLES), strict=False):
        by_share = pd.concat(tables).groupby("Sparsity (%)")
        for axis, metric in zip(axes[0], ("Accuracy", "Loss:"), strict=True):
            for unit, colour, marker in (("Weight", BLUE, "o"), ("Unit", RED, "s")):
                values = by_share[f"Test {metric} ({unit})"]
                means = values.mean()
                if len(tables) > 1:
                    axis.fill_between(means.index, values.min(), values.max(), color=colour, alpha=BAND, linewidth=0)
                handles += axis.plot(
                    means.index, means, color=colour, marker=marker, linestyle=linestyle,
                    label=f"{_LABELS[unit]}{label}", gid=f"{unit}|{metric}{label}",
                )  # fmt: skip
    if not handles:
        raise NothingToDrawError("these networks were not pruned after training")
    for axis, label in zip(axes[0], ("Top-1 accuracy", "Loss"), strict=True):
        axis.set(xlabel="Share pruned in each hidden layer", ylabel=label)
    add_legend(figure, handles)
    return figure
