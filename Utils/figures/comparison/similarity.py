"""Figure `activation-similarity`: how alike the activations of every two networks are."""

from collections.abc import Sequence

import pandas as pd
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from Utils.figures.comparison.images import SEQUENTIAL
from Utils.figures.comparison.outcome_series import study_table
from Utils.figures.look import Style, new_figure

_SCORES = {"live_one_to_one": "One-to-one matching", "live_semi": "Semi-matching", "unbiased_cka": "Unbiased CKA"}

_COLOURS = Normalize(0, 1)

_MOST_WITH_NUMBERS = 12
"""Most networks whose scores are also written."""

_CELL, _PRINTED_CELL = 0.14, 0.28
"""Inches of a cell, and of one with its score."""


def activation_similarity(
    rows: pd.DataFrame, style: Style, title: str = "", order: Sequence[str] | None = None
) -> Figure:
    """Mean correlation of matched live units and CKA of every two networks, means over layers.

    In the matchings of a network with itself, on the diagonal, no unit is its own partner. Raises `NothingToDrawError`
    without a finished study.
    """
    table = study_table(rows, "activation_similarity")
    names = list(table["first"].unique())
    side = 1.1 + (_PRINTED_CELL if len(names) <= _MOST_WITH_NUMBERS else _CELL) * len(names)
    figure, grid = new_figure(title, 1, len(_SCORES), (len(_SCORES) * side + 1.2, side + 0.8))
    means = table.groupby(["first", "second"])[list(_SCORES)].mean()
    for axes, (score, label) in zip(grid[0], _SCORES.items(), strict=True):
        matrix = means[score].unstack().reindex(index=names, columns=names).to_numpy()
        axes.imshow(matrix, cmap=SEQUENTIAL, norm=_COLOURS, gid=score)
        axes.grid(False)
        axes.set_title(label, fontsize=8)
        axes.set_xticks(range(len(names)), names, rotation=90, fontsize=6)
        axes.set_yticks(range(len(names)), names if axes is grid[0, 0] else [""] * len(names), fontsize=6)
        if len(names) <= _MOST_WITH_NUMBERS:
            for (row, column), value in ((place, matrix[place]) for place in _places(len(names))):
                colour = "black" if value > 0.6 else "white"
                axes.text(column, row, f"{value:.2f}", ha="center", va="center", fontsize=5, color=colour)
    figure.colorbar(ScalarMappable(_COLOURS, SEQUENTIAL), ax=grid, shrink=0.7)
    return figure


def _places(size: int) -> list[tuple[int, int]]:
    return [(row, column) for row in range(size) for column in range(size)]
