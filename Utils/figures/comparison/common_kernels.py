"""Figure `common-kernels`: the most common patterns of kernels of each group, as pictures with their counts."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure

from Utils.figures.comparison.outcome_series import looks_of, study_table
from Utils.figures.look import Style, new_figure, wrapped

_MOST = 10
_MOST_TIMES = 1000
"""Multiple of the expectation from which on none is written."""


def common_kernels(rows: pd.DataFrame, style: Style, title: str = "", order: Sequence[str] | None = None) -> Figure:
    """The ten most common patterns of kernels of the size that has the most frequent one, a row for each group.

    Above each is the number of kernels that have it; below it, this number as a multiple of what chance gives. Raises
    `NothingToDrawError` if no study has `common_kernels.csv`.
    """
    table = study_table(rows, "common_kernels", "no study has compared networks with convolutions")
    height, width = table.sort_values("count")[["height", "width"]].iloc[-1]
    table = table[(table["height"] == height) & (table["width"] == width) & (table["rank"] <= _MOST)]
    looks = looks_of(rows, table["group"])
    columns = int(table["rank"].max())
    figure, axes = new_figure(title, len(looks), columns, (1.0 + 0.72 * columns, 0.5 + 1.2 * len(looks)))
    for line, (group, look) in zip(axes, looks.items(), strict=True):
        line[0].set_ylabel(wrapped(group, 1.0), fontsize=7, color=look["color"])
        part = table[table["group"] == group].set_index("rank")
        for rank, panel in enumerate(line, 1):
            if rank in part.index:
                _draw(panel, part.loc[rank], (int(height), int(width)), look["color"], f"{group}|{rank}")
            else:
                panel.set_visible(False)
    return figure


def _draw(axes: Axes, row: pd.Series, shape: tuple[int, int], colour: str, gid: str) -> None:
    cells = (int(row["pattern"]) >> np.arange(shape[0] * shape[1])) & 1
    axes.imshow(cells.reshape(shape), cmap=ListedColormap(["white", colour]), vmin=0, vmax=1, gid=gid)
    axes.set_xticks(np.arange(shape[1] + 1) - 0.5, [""] * (shape[1] + 1))
    axes.set_yticks(np.arange(shape[0] + 1) - 0.5, [""] * (shape[0] + 1))
    axes.tick_params(length=0)
    axes.grid(True, color="#999999", alpha=1, linewidth=0.5)
    axes.spines[:].set_visible(False)
    axes.set_title(f"{row['count']:,.0f}", fontsize=7, pad=2)
    is_beyond = row["count"] >= _MOST_TIMES * row["expected"]
    times = f">{_MOST_TIMES}x" if is_beyond else f"{row['count'] / row['expected']:.3g}x"
    axes.set_xlabel(times, fontsize=7, labelpad=1)
