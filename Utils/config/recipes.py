"""Recipes: how an architecture is trained on a data set unless flags say otherwise.

`recipes.csv` has one line per recipe: patterns of architectures, data sets, the source of the values, and the values.
The first line that matches counts. Lengths and learning-rate drops are in the unit of their line.
"""

import csv
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import lru_cache
from pathlib import Path

TABLE = Path(__file__).with_name("recipes.csv")


@dataclass(frozen=True)
class Recipe:
    """Values for the settings that are left out, and where they come from."""

    source: str
    iterations: int
    lr_drops: tuple[int, ...]
    weight_decay: float
    lr: float
    lr_schedule: str
    lr_drop_rate: float
    optimizer: str
    momentum: float
    batch_size: int
    evaluate_every: int
    prune_examples: int
    augmentation: str | None
    """None: that of the data set."""


@lru_cache(maxsize=1)
def lines() -> tuple[dict[str, str], ...]:
    """The table, by the names of its columns."""
    with TABLE.open(encoding="utf-8", newline="") as file:
        return tuple(csv.DictReader(file))


def recipe(architecture: str, data: str, images: int) -> Recipe:
    """The recipe of an architecture on a data set of so many training images."""
    return _read(next(line for line in lines() if _fits(line, architecture, data)), images)


def _fits(line: dict[str, str], architecture: str, data: str) -> bool:
    is_architecture = any(fnmatchcase(architecture, pattern) for pattern in line["architecture"].split())
    return is_architecture and any(fnmatchcase(data, pattern) for pattern in line["data"].split())


def _read(line: dict[str, str], images: int) -> Recipe:
    batch_size = int(line["batch_size"])
    epoch = max(1, images // batch_size)
    unit = epoch if line["unit"] == "epochs" else 1
    return Recipe(
        source=line["source"],
        iterations=int(line["length"]) * unit,
        lr_drops=tuple(int(drop) * unit for drop in line["lr_drops"].split()),
        weight_decay=float(line["weight_decay"]),
        lr=float(line["lr"]),
        lr_schedule=line["lr_schedule"],
        lr_drop_rate=float(line["lr_drop_rate"]),
        optimizer=line["optimizer"],
        momentum=float(line["momentum"]),
        batch_size=batch_size,
        evaluate_every=int(line["evaluate_every"] or epoch),
        prune_examples=min(images, int(line["prune_examples"])),
        augmentation=line["augmentation"] or None,
    )
