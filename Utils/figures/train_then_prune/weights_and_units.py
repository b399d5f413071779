"""Figure `weights-and-units`: accuracy and loss of a trained network against the pruned share of weights and units."""

from collections.abc import Sequence

import pandas as pd
from matplotlib.figure import Figure

from Utils.figures.look import BLUE, RED, LonelyPointError, Style, add_legend, draw_band, new_figure
from Utils.figures.scales import accuracy_axes
from Utils.figures.train_then_prune.variants import variant_tables

_UNITS = (("Weight", "single weights", BLUE, "o"), ("Unit", "whole units", RED, "s"))


def weights_and_units(rows: pd.DataFrame, style: Style, title: str = "", order: Sequence[str] | None = None) -> Figure:
    """Test accuracy (left) and loss (right) against the pruned percentage of weights and of units.

    Means over samples, bands from the lowest to the highest. Raises `NothingToDrawError` if no run has `results.csv`,
    and `LonelyPointError` if its networks are pruned by one percentage only.
    """
    variants = variant_tables(rows, "results", "these networks were not pruned after training")
    if pd.concat([table for variant in variants for table in variant.tables])["Sparsity (%)"].nunique() == 1:
        raise LonelyPointError("it would show a single share; run main.py with several values of --k_vals")
    figure, axes = new_figure(title, 1, 2, (6.4, 2.6))
    handles = []
    for variant in variants:
        by_share = pd.concat(variant.tables).groupby("Sparsity (%)")
        for axis, metric in zip(axes[0], ("Accuracy", "Loss:"), strict=True):
            for unit, name, colour, marker in _UNITS:
                values = by_share[f"Test {metric} ({unit})"]
                means = values.mean()
                draw_band(axis, means.index, values, colour)
                label = variant.named(name)
                handles += axis.plot(
                    means.index, means, color=colour, marker=marker, linestyle=variant.linestyle, label=label,
                    gid=f"{label}|{metric}",
                )  # fmt: skip
    for axis in axes[0]:
        axis.set_xlabel("Pruned in each hidden layer (%)")
    accuracy_axes(axes[0, :1])
    axes[0, 1].set_ylabel("Loss")
    add_legend(figure, handles)
    return figure
