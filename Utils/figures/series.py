"""Series: the runs that form one curve of a figure, with their label and look.

Colour and marker tell pruners apart; line style and filling of the marker tell settings apart.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from Utils.config.choices import DENSE
from Utils.figures.labels import differences, label_of, natural_order, variant_of
from Utils.figures.look import LonelyPointError, NothingToDrawError, Style

LINE_STYLES: tuple[Any, ...] = ("-", "--", ":", "-.", (0, (6, 1, 1, 1, 1, 1)), (0, (1, 3)))
_DENSE_STYLES: tuple[Any, ...] = ("-.", (0, (6, 1, 1, 1, 1, 1)), (0, (8, 3)), (0, (2, 2)))
_FILLINGS = ("full", "none", "left", "top", "right", "bottom")
_SPARE_MARKERS = ("*", "P", "X", "d", "h", "<", ">")
"""Markers of pruners whose own colour and marker are taken, such as pruners that are no longer in the registry."""

_MARKS = 6
"""Number of markers on a long curve."""


@dataclass(frozen=True)
class Series:
    """All samples of one pruner with the same settings."""

    name: str
    label: str
    colour: str
    marker: str
    linestyle: Any
    filling: str
    rows: pd.DataFrame

    def look(self, **changes: Any) -> dict[str, Any]:
        """Arguments of `Axes.plot`, with changes."""
        look = {"color": self.colour, "marker": self.marker, "fillstyle": self.filling, "linestyle": self.linestyle}
        return look | {"label": self.label} | changes

    def faint(self, **changes: Any) -> dict[str, Any]:
        """Arguments of `Axes.plot` for a second curve beside the first one, without a label."""
        return self.look(**{"label": None, "markersize": 2.5, "linewidth": 0.9, "alpha": 0.7} | changes)

    def levels(self) -> Iterator[tuple[float, pd.DataFrame]]:
        """Yield each target compression, in ascending order, with its rows."""
        for target, rows in self.rows.groupby("target_compression", sort=True):
            yield float(target), rows  # type: ignore[arg-type]

    def at(self, level: float) -> pd.DataFrame:
        """The rows of one target compression; a dense network has the same rows at each."""
        return self.rows if self.name == DENSE else self.rows[self.rows["target_compression"] == level]


def marks(points: int, index: int) -> tuple[int, int]:
    """The first of a few markers on a curve and their distance, so that curves of other indices have theirs between."""
    step = max(1, points // _MARKS)
    return index % step, step


def make_series(rows: pd.DataFrame, style: Style, order: Sequence[str] | None = None) -> list[Series]:
    """The curves of one figure, the dense network first; labels name the settings that differ between curves."""
    runs = list(zip(rows["pruner"], map(variant_of, rows["settings"]), strict=True))
    names = (DENSE, *(name for name in (order or sorted(rows["pruner"].unique())) if name != DENSE))
    words = {run: text for run, text in differences(set(runs)).items() if run[0] in names}
    pruned = [run for run in words if run[0] != DENSE]
    is_only = len({name for name, _ in pruned}) == 1 and all(words[run] for run in pruned)
    series, taken = [], set()
    for run in sorted(words, key=lambda run: (names.index(run[0]), natural_order(words[run]))):
        is_dense = run[0] == DENSE
        same_kind = {words[other] for other in words if (other[0] == DENSE) == is_dense}
        pruner, colour, marker = style(run[0])
        place = sorted(same_kind, key=natural_order).index(words[run])
        look = _free_look(colour, marker, place, is_dense, taken)
        label = label_of(pruner, words[run], is_only and not is_dense)
        series.append(Series(run[0], label, *look, rows[[one == run for one in runs]]))
    return series


def _free_look(
    colour: str, marker: str, place: int, is_dense: bool, taken: set[tuple[Any, ...]]
) -> tuple[str, str, Any, str]:
    """Colour, marker, line style and filling of the setting at a place, in a combination that is not taken yet."""
    styles = _DENSE_STYLES if is_dense else LINE_STYLES
    rest = (styles[place % len(styles)], _FILLINGS[place % len(_FILLINGS)])
    looks = [(colour, shape, *rest) for shape in (marker, *_SPARE_MARKERS)]
    look = next((look for look in looks if look not in taken), looks[0])
    taken.add(look)
    return look


def rows_with(rows: pd.DataFrame, table: str, otherwise: str) -> pd.DataFrame:
    """The rows of pruned networks that have a table; raises `NothingToDrawError` with the words if none has it."""
    pruned = rows[rows["pruner"] != DENSE]
    part = pruned[[(Path(folder) / f"{table}.csv").is_file() for folder in pruned["folder"]]]
    if part.empty:
        raise NothingToDrawError(otherwise)
    return part


def check_points(series: Sequence[Series], column: str, digits: int) -> None:
    """Raise `LonelyPointError` if all pruned networks have the same target and, to so many digits, `column`."""
    levels = [(level, rows[column].mean()) for item in series if item.name != DENSE for level, rows in item.levels()]
    if len({(level, f"{value:.{digits}g}") for level, value in levels}) == 1:
        raise LonelyPointError(
            f"it would show a single point, at {levels[0][0]:.4g}x; run main.py with further values of "
            "--target_sparsity"
        )
