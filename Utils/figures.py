"""Which pictures do results give?

Every figure is made from the rows of `summary.csv` alone, grouped by everything but the sample. `style` gives label,
colour and marker of a pruner.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from Utils.results import replace_file
from Utils.settings import DENSE

Style = Callable[[str], tuple[str, str, str]]

_SPARE_MARKERS = ("P", "*", "h", "<", ">", "d")
"""For further curves of one pruner, with other settings."""

_MARGIN = 1.5
"""Factor by which an axis of compressions reaches beyond its points, so that a single one has an axis around it."""

_GREY = "#777777"
_LOOK: dict[Any, Any] = {
    "font.size": 9, "axes.labelsize": 9, "legend.fontsize": 8, "xtick.labelsize": 8, "ytick.labelsize": 8,
    "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True, "grid.alpha": 0.25, "lines.markersize": 4,
    "lines.linewidth": 1.3, "pdf.fonttype": 42,
}  # fmt: skip


@dataclass(frozen=True)
class Series:
    """All samples of one pruner with one choice of settings."""

    name: str
    label: str
    colour: str
    marker: str
    rows: pd.DataFrame

    def levels(self) -> Iterator[tuple[float, pd.DataFrame]]:
        """The rows of each target compression, in order."""
        for target, rows in self.rows.groupby("target_compression", sort=True):
            yield float(target), rows  # type: ignore[arg-type]


_SHOWN_BY_FIGURES = {
    "experiment", "architecture", "data", "pruner", "pruning_type", "sample", "target_sparsity", "com_exp"
}  # fmt: skip
"""Settings that figures show by themselves; any other that differs is named in the legend."""


def variant_of(settings: str) -> tuple[str, ...]:
    """What is unusual about a run, of its text in `summary.csv`, but for what figures show by themselves."""
    tokens = (token.removeprefix("--") for token in settings.split())
    return tuple(sorted(token for token in tokens if token.partition("=")[0] not in _SHOWN_BY_FIGURES))


def make_series(rows: pd.DataFrame, style: Style, order: Sequence[str] | None = None) -> list[Series]:
    """The curves of one figure; settings that differ between them are named in their labels."""
    rows = rows.assign(variant=pd.Series([variant_of(text) for text in rows["settings"]], rows.index, dtype=object))
    shared = set.intersection(*(set(variant) for variant in rows["variant"]))
    series = []
    names = [name for name in (order or sorted(rows["pruner"].unique())) if name != DENSE]
    for name in (DENSE, *names):
        of_pruner = rows[rows["pruner"] == name]
        for index, (variant, part) in enumerate(of_pruner.groupby("variant", sort=True)):
            label, colour, marker = style(name)
            marker = (marker, *_SPARE_MARKERS)[index % (1 + len(_SPARE_MARKERS))]
            differing = [token for token in variant if token not in shared]  # type: ignore[union-attr]
            label += f" ({', '.join(differing)})" if differing else ""
            series.append(Series(name, label, colour, marker, part))
    return series


def accuracies(rows: pd.DataFrame, style: Style, title: str = "", order: Sequence[str] | None = None) -> Figure:
    """Top-1 against compression: solid against effective, dashed against direct, bands from minimum to maximum.

    A collapsed network counts as chance, and is marked there at its target compression.
    """
    figure, axes = _new_figure(title)
    series = make_series(rows, style, order)
    chance = float(rows["chance"].mean()) if "chance" in rows else np.nan
    handles: list[Any] = []
    for index, item in enumerate(series):
        is_dense = item.name == DENSE
        handles.append(_draw_dense(axes, item) if is_dense else _draw_accuracy(axes, item, chance, index))
    axes.axhline(chance, color=_GREY, linestyle=":", linewidth=1, gid="chance")
    axes.set(xscale="log", xlabel="Compression", ylabel="Top-1 accuracy")
    handles += [
        Line2D([], [], color=_GREY, label="against effective"),
        Line2D([], [], color=_GREY, linestyle="--", label="against direct"),
        Line2D([], [], color=_GREY, linestyle=":", linewidth=1, label="chance"),
    ]
    if rows["collapsed"].any():
        handles.append(Line2D([], [], color=_GREY, linestyle="", marker="X", markersize=6, label="collapsed"))
    _add_legend(figure, handles)
    return figure


def compressions(rows: pd.DataFrame, style: Style, title: str = "", order: Sequence[str] | None = None) -> Figure:
    """Effective against target compression, both logarithmic; collapsed networks are marked at the upper edge."""
    figure, axes = _new_figure(title)
    handles: list[Any] = []
    collapsed: list[tuple[float, str, int]] = []
    for index, item in enumerate(make_series(rows, style, order)):
        if item.name == DENSE:
            continue
        points = []
        for target, level in item.levels():
            found = level["effective_compression"].replace(np.inf, np.nan).dropna()
            if len(found) < len(level):
                collapsed.append((target, item.colour, index))
            if len(found):
                points.append((target, _middle(found), found.min(), found.max()))
        table = np.array(points).reshape(-1, 4)
        axes.fill_between(table[:, 0], table[:, 2], table[:, 3], color=item.colour, alpha=0.18, linewidth=0)
        handles += axes.plot(
            table[:, 0], table[:, 1], color=item.colour, marker=item.marker, label=item.label,
            gid=f"{item.label}|effective",
        )  # fmt: skip
    axes.set(xlabel="Target compression", ylabel="Effective compression")
    pruned = rows[rows["pruner"] != DENSE]
    ends = [pruned["target_compression"].min() / _MARGIN, pruned["target_compression"].max() * _MARGIN]
    handles += axes.plot(ends, ends, color=_GREY, linestyle=":", linewidth=1, label="effective = target", zorder=5)
    axes.set(xscale="log", yscale="log", xlim=ends)
    if collapsed:
        top = axes.get_ylim()[1]
        for target, colour, index in collapsed:
            _mark_collapse(axes, target, top, colour, index)
        axes.set_ylim(top=top * 2)
        handles.append(
            Line2D([], [], color=_GREY, linestyle="", marker="X", markersize=6, label="collapsed (infinite)")
        )
    _add_legend(figure, handles)
    return figure


FIGURES: dict[str, Callable[..., Figure]] = {"accuracies": accuracies, "compressions": compressions}


def save_figure(figure: Figure, path: Path) -> list[Path]:
    """Write a figure as PNG and PDF; returns both paths."""
    paths = []
    for suffix in (".png", ".pdf"):
        content = BytesIO()
        metadata = {"CreationDate": None} if suffix == ".pdf" else {}
        figure.savefig(content, format=suffix[1:], dpi=300, bbox_inches="tight", metadata=metadata)
        paths.append(path.with_name(path.name + suffix))
        replace_file(paths[-1], content.getvalue())
    return paths


def _new_figure(title: str) -> tuple[Figure, Axes]:
    import matplotlib

    with matplotlib.rc_context(_LOOK):
        figure = Figure(figsize=(4.6, 3.1), layout="constrained")
        axes = figure.add_subplot()
    axes.set_title(title, fontsize=9)
    return figure, axes


def _add_legend(figure: Figure, handles: list[Any]) -> None:
    figure.legend(handles=handles, loc="outside lower center", ncols=3, frameon=False, fontsize=8)


def _draw_dense(axes: Axes, item: Series) -> Any:
    top1 = item.rows["top1"]
    axes.axhspan(top1.min(), top1.max(), color=item.colour, alpha=0.18, linewidth=0)
    return axes.axhline(top1.mean(), color=item.colour, linewidth=1.1, linestyle="-.", label=item.label, gid=item.label)


def _draw_accuracy(axes: Axes, item: Series, chance: float, index: int) -> Any:
    against_effective, against_direct = [], []
    for target, level in item.levels():
        top1 = level["top1"].where(~level["collapsed"].astype(bool), chance)
        found = level["effective_compression"].replace(np.inf, np.nan).dropna()
        spread = (top1.mean(), top1.min(), top1.max())
        against_effective.append((_middle(found) if len(found) else target, *spread))
        against_direct.append((_middle(level["direct_compression"]), *spread))
        if level["collapsed"].any():
            _mark_collapse(axes, target, chance, item.colour, index)
    solid, dashed = np.array(sorted(against_effective)), np.array(against_direct)
    axes.fill_between(solid[:, 0], solid[:, 2], solid[:, 3], color=item.colour, alpha=0.18, linewidth=0)
    axes.plot(dashed[:, 0], dashed[:, 1], color=item.colour, linestyle="--", gid=f"{item.label}|direct")
    (line,) = axes.plot(
        solid[:, 0], solid[:, 1], color=item.colour, marker=item.marker, label=item.label,
        gid=f"{item.label}|effective",
    )  # fmt: skip
    return line


def _mark_collapse(axes: Axes, x: float, y: float, colour: str, index: int) -> None:
    # Later marks are smaller, so that those of several pruners at one place can all be seen.
    size = max(3.0, 12 - 2 * index)
    axes.plot([x], [y], color=colour, marker="X", markersize=size, markeredgecolor="white", markeredgewidth=0.2,
              linestyle="", zorder=4 + index / 100, gid="collapsed")  # fmt: skip


def _middle(values: pd.Series) -> float:
    """The geometric mean, the middle on a logarithmic axis."""
    return float(np.exp(np.log(values.astype(float)).mean()))
