"""Variants of runs without a pruner: their labels, line styles and tables."""

from typing import Any, NamedTuple

import pandas as pd

from Utils.figures.look import BLUE, NothingToDrawError
from Utils.figures.series import LINE_STYLES, Series, make_series
from Utils.results.summaries import read_table


class Variant(NamedTuple):
    """Runs with the same settings: what tells them from others, their line style, and the table of each sample."""

    label: str
    linestyle: Any
    tables: list[pd.DataFrame]

    def named(self, curve: str) -> str:
        """The label of one of the variant's curves."""
        return ", ".join(filter(None, (curve, self.label)))


def unstyled_series(rows: pd.DataFrame) -> list[Series]:
    """One series per variant of settings, labelled by the differing settings only, for runs without a pruner."""
    return make_series(rows, lambda pruner: ("", BLUE, "o"))


def variant_tables(rows: pd.DataFrame, name: str, otherwise: str) -> list[Variant]:
    """The variants of settings that have the table `name`; raises `NothingToDrawError` with the words if none has."""
    variants = []
    for index, item in enumerate(unstyled_series(rows)):
        tables = [table for folder in item.rows["folder"] if (table := read_table(folder, name)) is not None]
        if tables:
            variants.append(Variant(item.label, LINE_STYLES[index % len(LINE_STYLES)], tables))
    if not variants:
        raise NothingToDrawError(otherwise)
    return variants
