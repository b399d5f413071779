"""Variants of one pruner that differ in settings: their labels, colours and tables."""

from collections.abc import Sequence
from dataclasses import replace

import pandas as pd

from Utils.figures.look import BLUE
from Utils.figures.series import Series, make_series
from Utils.results.summaries import read_table

LINE_STYLES = ("-", "--", ":", "-.")

_ARMS = {"union": "Union mask", "vanilla": "Vanilla", "vanilla-cyclic": "Vanilla, cyclic rates"}
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7f5539", "#3b3b98")
"""Colours of the variants of one pruner, which would otherwise all have the pruner's colour."""


def _by_arm(item: Series) -> Series:
    """A series with the arm of the union-mask experiment at the front of its label; others are unchanged."""
    arm = item.rows["arm"].iloc[0] if "arm" in item.rows else None
    if not isinstance(arm, str):
        return item
    settings = item.label.partition(" (")[2].removesuffix(")").split(", ")
    rest = ", ".join(text for text in settings if text and not text.startswith("arm="))
    pruner = item.label.partition(" (")[0]
    return replace(item, label=f"{_ARMS.get(arm, arm)}: {pruner.lower()}{f' ({rest})' if rest else ''}")


def coloured(series: Sequence[Series]) -> list[tuple[Series, str]]:
    """Each series with its pruner's colour or, if a pruner has several series, with a distinct colour.

    Labels start with the arm of the union-mask experiment.
    """
    series = [_by_arm(item) for item in series]
    names = [item.name for item in series]
    is_distinct = len(set(names)) == len(names)
    return [(item, item.colour if is_distinct else _COLOURS[n % len(_COLOURS)]) for n, item in enumerate(series)]


def unstyled_series(rows: pd.DataFrame) -> list[Series]:
    """One series per variant of settings, labelled by the differing settings only, for runs without a pruner."""
    return make_series(rows, lambda pruner: ("", BLUE, "o"))


def variant_tables(rows: pd.DataFrame, name: str) -> list[tuple[str, list[pd.DataFrame]]]:
    """For each variant of settings that has the table `name`: its label, and the table of each sample."""
    variants = []
    for item in unstyled_series(rows):
        tables = [table for folder in item.rows["folder"] if (table := read_table(folder, name)) is not None]
        if tables:
            variants.append((item.label, tables))
    return variants
