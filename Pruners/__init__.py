"""Pruners by name: `make_pruner` combines a criterion with a quota; `registry.py` lists both."""

from __future__ import annotations

from typing import TYPE_CHECKING

from Pruners.registry import CRITERIA, QUOTAS, SCHEDULES, split_name
from Utils.errors import UserError, unknown

if TYPE_CHECKING:
    from Pruners.pruner import Pruner

__all__ = ["CRITERIA", "QUOTAS", "SCHEDULES", "make_pruner"]


def make_pruner(
    name: str,
    iterations: int | None = None,
    schedule: str = "exponential",
    invert: bool = False,
    train_mode: bool = True,
) -> Pruner:
    """The pruner of a name such as `"snip"`, `"random/igq"` or `"random/snip"`; raises `UserError` for an unknown one.

    `iterations` are rounds of scoring and pruning (None: the criterion's own number), `schedule` says how many weights
    each prunes. `invert` turns the order round; with `train_mode=False` examples are seen in evaluation mode.
    """
    from Pruners.pruner import Pruner

    if schedule not in SCHEDULES:
        raise unknown("schedule", schedule, SCHEDULES)
    if iterations is not None and iterations < 1:
        raise UserError(f"a pruner needs at least one round, not {iterations}")
    return Pruner(*split_name(name), 1 if schedule == "one-shot" else iterations, schedule, invert, train_mode)
