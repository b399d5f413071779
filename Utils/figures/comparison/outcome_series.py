"""Series of outcomes: the table of a study, and the look of each group of its networks."""

from collections.abc import Iterable
from itertools import cycle
from typing import Any

import pandas as pd

from Utils.figures.look import NothingToDrawError
from Utils.results.summaries import read_table

_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
"""Colours that colour-blind readers tell apart (Okabe and Ito 2008), without yellow."""

_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">")
"""Two more than colours: groups of one colour have different markers."""


_MOST_PAIRS = 12
"""Pairs of groups that a legend holds."""


def study_table(rows: pd.DataFrame, name: str, otherwise: str = "") -> pd.DataFrame:
    """The table of the study of the rows; raises `NothingToDrawError`, with these words, if it has none.

    Of several studies, it is that of the one with the longest table.
    """
    tables = [table for folder in rows["folder"] if (table := read_table(folder, name)) is not None]
    if not tables:
        raise NothingToDrawError(otherwise or f"no study has {name}.csv")
    return max(tables, key=len)


def few_pairs(table: pd.DataFrame) -> pd.DataFrame:
    """Rows of a table with columns `pair`, `first_group`, `second_group`: of many pairs, those of one group alone."""
    is_within = table["first_group"] == table["second_group"]
    return table[is_within] if table["pair"].nunique() > _MOST_PAIRS and is_within.any() else table


def looks_of(rows: pd.DataFrame, groups: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Colour, marker and label of groups of a study's networks: a group looks the same in all figures of the study."""
    try:
        every = study_table(rows, "networks")["group"].astype(str)
    except NothingToDrawError:
        every = pd.Series(dtype=str)
    groups = list(dict.fromkeys(groups))
    looks = group_looks([*every, *groups])
    return {group: looks[group] for group in groups}


def group_looks(groups: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Colour, marker and label of each group, in the order of their first appearance."""
    looks = zip(dict.fromkeys(groups), cycle(_COLOURS), cycle(_MARKERS), strict=False)
    return {group: {"color": colour, "marker": marker, "label": group} for group, colour, marker in looks}
