"""Colours and labels for several variants of one pruner."""

from collections.abc import Sequence
from dataclasses import replace

from Utils.figures.series import Series

MOST_PANELS = 4


_ARMS = {"union": "Union mask", "vanilla": "Vanilla", "vanilla-cyclic": "Vanilla, cyclic rates"}


_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7f5539", "#3b3b98")
"""Variants of one pruner are told apart by these, where its own colour would not do."""


def _by_arm(item: Series) -> Series:
    arm = item.rows["arm"].iloc[0] if "arm" in item.rows else None
    if not isinstance(arm, str):
        return item
    settings = item.label.partition(" (")[2].removesuffix(")").split(", ")
    rest = ", ".join(text for text in settings if text and not text.startswith("arm="))
    pruner = item.label.partition(" (")[0]
    return replace(item, label=f"{_ARMS.get(arm, arm)}: {pruner.lower()}{f' ({rest})' if rest else ''}")


def coloured(series: Sequence[Series]) -> list[tuple[Series, str]]:
    """Each series with its pruner's colour, or, if several are of one pruner, with one of its own; arms by name."""
    series = [_by_arm(item) for item in series]
    names = [item.name for item in series]
    is_told = len(set(names)) == len(names)
    return [(item, item.colour if is_told else _COLOURS[n % len(_COLOURS)]) for n, item in enumerate(series)]
