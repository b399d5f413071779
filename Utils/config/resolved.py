"""Resolved recipe: how a network is trained, with every value decided."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass


@dataclass(frozen=True)
class Recipe:
    """The training settings of a resolved run. The defaults are those of a run that trains nothing."""

    train: bool = True
    iterations: int = 0
    batch_size: int = 1
    accumulate: int = 1
    """Parts in which a batch is computed."""
    evaluate_every: int = 1
    optimizer: str = "sgd"
    lr: float = 0.0
    lr_schedule: str = "step"
    lr_drops: tuple[int, ...] = ()
    lr_drop_rate: float = 1.0
    lr_cycle: tuple[int, ...] = (5000,)
    warmup: int = 0
    momentum: float = 0.0
    weight_decay: float = 0.0
    augmentation: str = "none"
    batchnorm: str = "running"

    @classmethod
    def of(cls, training: object) -> Recipe:
        """The recipe of resolved training settings, a `Training` of `settings.py`."""
        values = {item.name: getattr(training, item.name) for item in dataclasses.fields(cls)}
        return cls(**{name: value for name, value in values.items() if value is not None})
