"""Figure `linear-paths`: test loss and error on the straight line between the weights of two networks."""

from collections.abc import Sequence
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from Utils.figures.comparison.outcome_series import few_pairs, group_looks, study_table
from Utils.figures.look import Style, add_legend, grey_line, new_figure

_PANELS = {"test_loss": "Test loss", "error": "Test error"}

_ALIGNMENTS = {"none": ("-", "as they are"), "matched": ("--", "after matching of units")}


def linear_paths(rows: pd.DataFrame, style: Style, title: str = "", order: Sequence[str] | None = None) -> Figure:
    """Test loss (above) and error (below) along paths; a colour for each group and each two groups, means over pairs.

    Faint lines are single pairs; dashed lines follow the matching of units. Of many pairs of groups, those of one group
    are drawn. Raises `NothingToDrawError` if no study has
    `paths.csv`.
    """
    table = study_table(rows, "paths", "no study has followed the line between two networks")
    first, second = table["first_group"], table["second_group"]
    table = table.assign(error=1 - table["top1"], pair=first.where(first == second, first + " and " + second))
    table = few_pairs(table)
    figure, axes = new_figure(title, 2, 1, (4.6, 4.6), sharex=True)
    handles: list[Any] = []
    for axis, (column, label) in zip(axes[:, 0], _PANELS.items(), strict=True):
        for pair, look in group_looks(table["pair"]).items():
            for alignment, part in table[table["pair"] == pair].groupby("alignment"):
                line = _ALIGNMENTS[str(alignment)][0]
                for _, single in part.groupby(["first", "second"]):
                    axis.plot(single["alpha"], single[column], color=look["color"], linewidth=0.5, alpha=0.4,
                              linestyle=line)  # fmt: skip
                mean = part.groupby("alpha")[column].mean()
                (drawn,) = axis.plot(mean.index, mean, **look, linestyle=line, gid=f"{pair}|{alignment}|{column}")
                handles += [drawn] if alignment == "none" else []
        axis.set_ylabel(label)
    axes[-1, 0].set_xlabel("Share of the second network in the weights")
    if table["alignment"].nunique() > 1:
        handles += [grey_line(words, linestyle=line) for line, words in _ALIGNMENTS.values()]
    add_legend(figure, handles)
    return figure
