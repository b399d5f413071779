"""Figure `trained`: loss and accuracy while the network of a train-then-prune run is trained."""

from collections.abc import Sequence

import pandas as pd
from matplotlib.figure import Figure

from Utils.figures.look import BLUE, RED, NothingToDrawError, Style, add_legend, new_figure
from Utils.figures.scales import accuracy_axes
from Utils.figures.series import marks
from Utils.figures.train_then_prune.variants import variant_tables

_FEWEST_POINTS = 2
_UNTRAINED = "these networks were not trained"


def trained(rows: pd.DataFrame, style: Style, title: str = "", order: Sequence[str] | None = None) -> Figure:
    """Loss (left) and accuracy (right) on training and validation images against iterations; means over samples.

    Raises `NothingToDrawError` if no network was trained.
    """
    figure, axes = new_figure(title, 1, 2, (6.4, 2.6))
    handles = []
    for variant in variant_tables(rows, "training", _UNTRAINED):
        means = pd.concat(variant.tables).groupby("iteration").mean()
        if len(means) < _FEWEST_POINTS:
            continue
        for axis, metric in zip(axes[0], ("loss", "top1"), strict=True):
            for split, colour, marker, name in (("train", RED, "s", "training"), ("val", BLUE, "o", "validation")):
                curve = means[f"{split}_{metric}"].dropna()
                label = variant.named(name)
                handles += axis.plot(
                    curve.index, curve, color=colour, marker=marker, markevery=marks(len(curve), 0),
                    linestyle=variant.linestyle, label=label, gid=f"{label}|{metric}",
                )  # fmt: skip
    if not handles:
        raise NothingToDrawError(_UNTRAINED)
    axes[0, 0].set(xlabel="Iteration", ylabel="Loss", yscale="log")
    axes[0, 1].set_xlabel("Iteration")
    accuracy_axes(axes[0, 1:], after_start=True)
    add_legend(figure, handles)
    return figure
