"""Figure `trained`: loss and accuracy while the network of a train-then-prune run is trained."""

import itertools
from collections.abc import Sequence

import pandas as pd
from matplotlib.figure import Figure

from Utils.figures.look import BLUE, RED, NothingToDrawError, Style, add_legend, new_figure
from Utils.figures.variants import LINE_STYLES, variant_tables

_FEWEST_POINTS = 2


def trained(rows: pd.DataFrame, style: Style, title: str = "", order: Sequence[str] | None = None) -> Figure:
    """Loss (left) and accuracy (right) on training and validation images against iterations; means over samples.

    Raises `NothingToDrawError` if no network was trained.
    """
    figure, axes = new_figure(title, 1, 2, (6.4, 3.1))
    handles = []
    variants = variant_tables(rows, "training")
    for (variant, tables), linestyle in zip(variants, itertools.cycle(LINE_STYLES), strict=False):
        means = pd.concat(tables).groupby("iteration").mean()
        if len(means) < _FEWEST_POINTS:
            continue
        for axis, metric in zip(axes[0], ("loss", "top1"), strict=True):
            for split, colour, label in (("train", RED, "training"), ("val", BLUE, "validation")):
                curve = means[f"{split}_{metric}"].dropna()
                handles += axis.plot(
                    curve.index, curve, color=colour, linestyle=linestyle, label=f"{label}{variant}",
                    gid=f"{split}_{metric}{variant}",
                )  # fmt: skip
    if not handles:
        raise NothingToDrawError("these networks were not trained")
    for axis, label in zip(axes[0], ("Loss", "Top-1 accuracy"), strict=True):
        axis.set(xlabel="Iteration", ylabel=label)
    axes[0, 0].set_yscale("log")
    add_legend(figure, handles)
    return figure
