"""Figures `anatomy` and `anatomy-scatter`: accuracy against compression and against statistics of masks."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from Utils.config.choices import DENSE
from Utils.figures.look import GREY, NothingToDrawError, Style, add_legend, grey_line, new_figure
from Utils.figures.scales import accuracy_axes, chance_level, log_axis
from Utils.results.summaries import read_table

_MARGIN = 1.3
"""Factor by which the axes of compression extend beyond their points."""

_SPREAD = 0.72
"""Share of a statistic's row over which its levels are spread."""

_MOST_LEVELS = 6
_COLUMNS = 4

_WORDS = {
    "kept_direct": "kept weights (direct)", "log_paths": "paths (log)", "imdb": "IMDB", "ntk_trace": "NTK trace",
    "ntk_condition": "NTK condition (log)", "difference_of_bound": "difference of bound",
}  # fmt: skip
"""Names of statistics that are not the words of their columns."""


def anatomy(rows: pd.DataFrame, style: Style, title: str = "", order: Sequence[str] | None = None) -> Figure:
    """Top-1 against direct (a) and effective compression (b), and Spearman correlations with each statistic (c).

    Points are means over samples of one pruner at one level; lines of random pruners are dashed, and hollow points had
    a longer training. (c) has one row per statistic, the strongest first, and one dot per level, with an interval from
    resampled pruners. Raises `NothingToDrawError` without a finished study.
    """
    networks, correlations, explained = (_largest(rows, name) for name in ("networks", "correlations", "explained"))
    ratios = {"width_ratios": [1, 1, 1.45]}
    figure, axes = new_figure(title, 1, 3, (13.5, 5.2), gridspec_kw=ratios)
    first, second, third = axes[0]
    is_pruned = (networks["pruner"] != DENSE) & (networks["kept_effective"] > 0)
    compared = networks[is_pruned & (networks["control"] == "none")]
    handles: list[Any] = []
    for panel, letter, kind in ((first, "a", "direct"), (second, "b", "effective")):
        column = f"{kind}_compression"
        handles += _draw_means(panel, compared, column, style, order)
        share = explained.loc[explained["against"] == column, "share"].iloc[0]
        panel.set_title(f"({letter}) {kind} compression explains {share:.0%}", fontsize=9)
        panel.set_xlabel(f"{kind.capitalize()} compression")
        log_axis(panel, "x", compared[column].min() / _MARGIN, compared[column].max() * _MARGIN)
    chance = accuracy_axes([first, second], chance_level(networks))
    dots = _draw_correlations(third, correlations)
    if networks["iterations"].nunique() > 1:
        chance = [*chance, grey_line("longer training", linestyle="", marker="o", fillstyle="none")]
    figure.legend(handles=dots, loc="outside right center", frameon=False, fontsize=8)
    add_legend(figure, [*handles, *chance])
    return figure


def scatter(rows: pd.DataFrame, style: Style, title: str = "", order: Sequence[str] | None = None) -> Figure:
    """Top-1 against each statistic at the level where ranks of accuracy and statistics agree best; a dot per network.

    Raises `NothingToDrawError` without a finished study.
    """
    networks, correlations = (_largest(rows, name) for name in ("networks", "correlations"))
    known = correlations.dropna(subset=["spearman"])
    if known.empty:
        raise NothingToDrawError("its networks have no level with different values of a statistic")
    strength = known["spearman"].abs().groupby([known["iterations"], known["target_compression"]]).mean()
    iterations, compression = np.array(strength.idxmax())
    part = known[(known["iterations"] == iterations) & (known["target_compression"] == compression)]
    near = (networks["kept_effective"] / networks["target_kept"] - 1).abs() <= 0.05
    level = (networks["iterations"] == iterations) & (networks["target_compression"] == compression)
    chosen = networks[near & level & (networks["control"] == "none")]
    count = -(-len(part) // _COLUMNS)
    words = f"{title}, {1 - 1 / compression:.4g} effective"
    figure, axes = new_figure(words, count, _COLUMNS, (9.2, 1.9 * count), sharey=True)
    handles: dict[str, Any] = {}
    for panel, (_, row) in zip(axes.flat, part.iterrows(), strict=False):
        name = str(row["statistic"])
        for pruner, group in _by_pruner(chosen, order):
            label, colour, marker = style(pruner)
            look = {"color": colour, "marker": marker, "linestyle": "", "markersize": 3.5}
            (handles[label],) = panel.plot(group[name], group["top1"], label=label, gid=f"{label}|{name}", **look)
        panel.set_title(f"{_word(name)}: {row['spearman']:+.2f}", fontsize=8)
    for panel in list(axes.flat)[len(part) :]:
        panel.remove()
    for row in axes:
        row[0].set_ylabel("Top-1 accuracy")
    add_legend(figure, list(handles.values()))
    return figure


def _largest(rows: pd.DataFrame, name: str) -> pd.DataFrame:
    """A table of the study with the most networks."""
    tables = [table for folder in rows["folder"] if (table := read_table(Path(folder), name)) is not None]
    if not tables:
        raise NothingToDrawError(f"no study has {name}.csv")
    return max(tables, key=len)


def _by_pruner(networks: pd.DataFrame, order: Sequence[str] | None) -> list[tuple[str, pd.DataFrame]]:
    names = order or sorted(networks["pruner"].unique())
    return [(name, networks[networks["pruner"] == name]) for name in names if (networks["pruner"] == name).any()]


def _draw_means(
    panel: Axes, networks: pd.DataFrame, column: str, style: Style, order: Sequence[str] | None
) -> list[Any]:
    """Draw the means of each pruner at each level; returns the lines of the shortest training."""
    shortest, handles = networks["iterations"].min(), []
    for pruner, group in _by_pruner(networks, order):
        label, colour, marker = style(pruner)
        for iterations, part in group.groupby("iterations"):
            means = part.groupby("target_compression").agg(x=(column, _geometric_mean), y=("top1", "mean"))
            is_short = iterations == shortest
            look = {"color": colour, "marker": marker, "linewidth": 0.8, "gid": f"{label}|{column}|{iterations}"}
            look |= {"linestyle": "--" if pruner.startswith("random") else "-"}
            look |= {"label": label} if is_short else {"fillstyle": "none", "linestyle": ""}
            lines = panel.plot(means["x"], means["y"], **look)
            handles += lines if is_short else []
    return handles


def _geometric_mean(values: pd.Series) -> float:
    return float(np.exp(np.log(values).mean()))


def _draw_correlations(panel: Axes, correlations: pd.DataFrame) -> list[Any]:
    """Draw a dot and an interval per statistic and level; returns the legend entries of the levels."""
    shortest = correlations["iterations"].min()
    lengths = correlations["iterations"].nunique()
    levels = np.array(list(correlations.groupby(["iterations", "target_compression"]).groups))
    known = correlations.dropna(subset=["spearman"])
    strength = known["spearman"].abs().groupby(known["statistic"]).mean()
    names = list(strength.sort_values(ascending=False).index)
    colours = colormaps["viridis"](np.linspace(0.92, 0.05, len(levels)))
    handles = []
    for number, (iterations, compression) in enumerate(levels):
        part = correlations[
            (correlations["iterations"] == iterations) & (correlations["target_compression"] == compression)
        ].set_index("statistic").reindex(names)  # fmt: skip
        y = np.arange(len(names)) + _SPREAD * ((number + 0.5) / len(levels) - 0.5)
        label = f"{1 - 1 / compression:.4g} effective" + (f", {iterations:.0f} steps" if lengths > 1 else "")
        filling = "full" if iterations == shortest else "none"
        panel.hlines(y, part["low"], part["high"], color=colours[number], linewidth=0.9)
        handles += panel.plot(
            part["spearman"], y, color=colours[number], marker="o", markersize=3, linestyle="", fillstyle=filling,
            label=label, gid=f"{label}|spearman",
        )  # fmt: skip
    panel.axvline(0, color=GREY, linewidth=0.8)
    panel.set(xlim=(-1.02, 1.02), ylim=(len(names) - 0.5, -0.5), xlabel="Spearman correlation with top-1")
    panel.set_yticks(range(len(names)), [_word(name) for name in names])
    panel.set_title("(c) at equal effective sparsity", fontsize=9)
    return handles


def _word(name: str) -> str:
    return _WORDS.get(name, name.replace("_", " "))
