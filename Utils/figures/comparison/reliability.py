"""Figure `reliability`: accuracy against confidence, and how the confidence of predictions is distributed."""

from collections.abc import Sequence

import pandas as pd
from matplotlib.figure import Figure

from Utils.figures.comparison.outcome_series import looks_of, study_table
from Utils.figures.look import GREY, Style, add_legend, new_figure


def reliability(rows: pd.DataFrame, style: Style, title: str = "", order: Sequence[str] | None = None) -> Figure:
    """Accuracy (above) and share of the test images (below) by confidence, a curve for each group of networks.

    Bins are those of the table, samples of a group are pooled: a point is the mean over the images of all samples in a
    bin. On the dashed line, confidence is accuracy; below it, networks are overconfident. Raises `NothingToDrawError`
    if no study has `reliability.csv`.
    """
    table = study_table(rows, "reliability", "no study has compared stored predictions (--save_predictions)")
    figure, axes = new_figure(title, 2, 1, (4.6, 4.6), sharex=True, height_ratios=(2, 1))
    above, below = axes[:, 0]
    handles = []
    for group, look in looks_of(rows, table["group"]).items():
        part = table[(table["group"] == group) & (table["count"] > 0)]
        sums = part[["confidence", "accuracy"]].mul(part["count"], axis=0).assign(count=part["count"])
        sums = sums.groupby(part["bin"]).sum()
        confidence, accuracy, counts = (sums[name].to_numpy() for name in ("confidence", "accuracy", "count"))
        handles += above.plot(confidence / counts, accuracy / counts, **look, gid=f"{group}|reliability")
        below.plot(confidence / counts, counts / counts.sum(), **look, gid=f"{group}|share")
    handles += above.plot([0, 1], [0, 1], color=GREY, linestyle="--", linewidth=1, label="calibrated", zorder=1)
    above.set(ylabel="Accuracy", xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    below.set(ylabel="Share of images", xlabel="Confidence", ylim=(0, None))
    add_legend(figure, handles)
    return figure
