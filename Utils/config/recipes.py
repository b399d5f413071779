"""Recipes: default training settings for each architecture on each data set.

`recipes.csv` has one row per recipe: patterns of architectures and data sets, the source of the values, and the values.
The first matching row applies. Lengths and learning-rate drops are in the unit of their row, iterations or epochs.
"""

import csv
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import lru_cache
from pathlib import Path

TABLE = Path(__file__).with_name("recipes.csv")


@dataclass(frozen=True)
class PublishedRecipe:
    """Values for omitted training settings, and their source."""

    source: str
    iterations: int
    lr_drops: tuple[int, ...]
    weight_decay: float
    weight_decay_scope: str
    """`kernels`, or `all` parameters."""
    lr: float
    cyclic_lr: float
    """The highest learning rate of cycles; that of all other schedules unless the source has two."""
    lr_schedule: str
    lr_drop_rate: float
    optimizer: str
    momentum: float
    batch_size: int
    evaluate_every: int
    prune_examples: int
    augmentation: str | None
    """None: the default of the data set."""
    scoring_mode: str
    """`training` or `evaluation`: the mode in which examples are scored."""
    mean: tuple[float, ...] | None
    std: tuple[float, ...] | None
    """Normalisation of pixels in [0, 1], for all channels or per channel; None: the constants of the data set."""


@lru_cache(maxsize=1)
def lines() -> tuple[dict[str, str], ...]:
    """The rows of `recipes.csv`, each a dictionary by column."""
    with TABLE.open(encoding="utf-8", newline="") as file:
        return tuple(csv.DictReader(file))


def recipe(architecture: str, data: str, images: int) -> PublishedRecipe:
    """The recipe for an architecture on a data set with this number of training images."""
    return _parse(next(row for row in lines() if _matches(row, architecture, data)), images)


def _matches(row: dict[str, str], architecture: str, data: str) -> bool:
    is_architecture = any(fnmatchcase(architecture, pattern) for pattern in row["architecture"].split())
    return is_architecture and any(fnmatchcase(data, pattern) for pattern in row["data"].split())


def _parse(row: dict[str, str], images: int) -> PublishedRecipe:
    batch_size = int(row["batch_size"])
    epoch = max(1, images // batch_size)
    unit = epoch if row["unit"] == "epochs" else 1
    return PublishedRecipe(
        source=row["source"],
        iterations=int(row["length"]) * unit,
        lr_drops=tuple(int(drop) * unit for drop in row["lr_drops"].split()),
        weight_decay=float(row["weight_decay"]),
        weight_decay_scope=row["weight_decay_scope"],
        lr=float(row["lr"]),
        cyclic_lr=float(row["cyclic_lr"] or row["lr"]),
        lr_schedule=row["lr_schedule"],
        lr_drop_rate=float(row["lr_drop_rate"]),
        optimizer=row["optimizer"],
        momentum=float(row["momentum"]),
        batch_size=batch_size,
        evaluate_every=int(row["evaluate_every"] or epoch),
        prune_examples=min(images, int(row["prune_examples"])),
        augmentation=row["augmentation"] or None,
        scoring_mode=row["scoring_mode"],
        mean=_numbers(row["mean"]),
        std=_numbers(row["std"]),
    )


def _numbers(text: str) -> tuple[float, ...] | None:
    return tuple(map(float, text.split())) or None
