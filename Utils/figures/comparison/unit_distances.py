"""Figure `unit-distances`: distances of all units of two networks, as stored and after alignment."""

from collections.abc import Sequence

import pandas as pd
from matplotlib.figure import Figure

from Utils.figures.comparison.network_distances import MEASURES
from Utils.figures.comparison.outcome_series import study_table
from Utils.figures.look import Style, new_figure

_ROWS = {"unaligned_distance": "As stored", "distance": "Aligned"}


def unit_distances(rows: pd.DataFrame, style: Style, title: str = "", order: Sequence[str] | None = None) -> Figure:
    """Distances of the units of the first two networks that differ by the first measure: a column per layer.

    Above, units are those of the same number; below, columns are the partners of the rows. Titles are the means of the
    diagonals. Raises `NothingToDrawError` if no study has `unit_distances.csv`.
    """
    table = study_table(rows, "unit_distances", "no study has compared the units of networks")
    differing = table[table["distance"] > 0]  # two dense networks have their weights at the same positions
    chosen = (differing if len(differing) else table).iloc[0]
    measure, first, second = (str(chosen[name]) for name in ("measure", "first", "second"))
    part = table[(table["measure"] == measure) & (table["first"] == first) & (table["second"] == second)]
    layers = list(dict.fromkeys(part["layer"]))
    heading = f"{title}\n{MEASURES.get(measure, measure)}: units of {first} (down) and {second} (across)".strip()
    figure, axes = new_figure("", 2, len(layers), (1.5 * len(layers) + 1.4, 4.0))
    figure.suptitle(heading, fontsize=9)
    for column, layer in enumerate(layers):
        for row, (value, label) in enumerate(_ROWS.items()):
            panel = axes[row, column]
            matrix = part[part["layer"] == layer].pivot(index="row", columns="column", values=value).to_numpy()
            panel.imshow(matrix, cmap="viridis", vmin=0, vmax=1, gid=f"{layer}|{value}")
            panel.set_title(f"{layer}: {matrix.diagonal().mean():.2f}", fontsize=8)
            panel.grid(False)
            panel.set(xticks=[], yticks=[])
            if column == 0:
                panel.set_ylabel(label)
    figure.colorbar(axes[0, 0].images[0], ax=list(axes.flat), label="Distance")
    return figure
