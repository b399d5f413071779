"""Series: the runs that form one curve of a figure, with label, colour and marker."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pandas as pd

from Utils.config.choices import DENSE
from Utils.figures.look import Style

_SPARE_MARKERS = ("P", "*", "h", "<", ">", "d")
"""Markers of further curves of one pruner, with other settings."""


@dataclass(frozen=True)
class Series:
    """All samples of one pruner with the same settings."""

    name: str
    label: str
    colour: str
    marker: str
    rows: pd.DataFrame

    def levels(self) -> Iterator[tuple[float, pd.DataFrame]]:
        """Yield each target compression, in ascending order, with its rows."""
        for target, rows in self.rows.groupby("target_compression", sort=True):
            yield float(target), rows  # type: ignore[arg-type]

    def at(self, level: float) -> pd.DataFrame:
        """The rows of one target compression; a dense network has the same rows at each."""
        return self.rows if self.name == DENSE else self.rows[self.rows["target_compression"] == level]


_SHOWN_BY_FIGURES = {
    "experiment", "architecture", "data", "pruner", "pruning_type", "sample", "target_sparsity", "com_exp"
}  # fmt: skip
"""Settings that figures show in other ways; the legend names any other setting that differs."""


def variant_of(settings: str) -> tuple[str, ...]:
    """The non-default settings in the `settings` column of `summary.csv`, without those shown in other ways."""
    tokens = (token.removeprefix("--") for token in settings.split())
    return tuple(sorted(token for token in tokens if token.partition("=")[0] not in _SHOWN_BY_FIGURES))


def make_series(rows: pd.DataFrame, style: Style, order: Sequence[str] | None = None) -> list[Series]:
    """The curves of one figure; labels name the settings that differ between curves."""
    rows = rows.assign(variant=pd.Series([variant_of(text) for text in rows["settings"]], rows.index, dtype=object))
    shared = set.intersection(*(set(variant) for variant in rows["variant"]))
    series = []
    names = [name for name in (order or sorted(rows["pruner"].unique())) if name != DENSE]
    for name in (DENSE, *names):
        pruner_rows = rows[rows["pruner"] == name]
        for index, (variant, part) in enumerate(pruner_rows.groupby("variant", sort=True)):
            label, colour, marker = style(name)
            marker = (marker, *_SPARE_MARKERS)[index % (1 + len(_SPARE_MARKERS))]
            differing = [token for token in variant if token not in shared]  # type: ignore[union-attr]
            label += f" ({', '.join(differing)})" if differing else ""
            series.append(Series(name, label, colour, marker, part))
    return series
