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
    """The pruner with a name such as `"snip"`, `"random/igq"` or `"random/snip"`.

    `iterations` is the number of rounds of scoring and pruning (None: the criterion's default); `schedule` sets how
    many weights each round prunes. `invert` reverses the criterion's order. `train_mode=False` scores examples in
    evaluation mode. Raises `UserError` for an unknown name or schedule and for fewer than one round.
    """
    from Pruners.pruner import Pruner

    if schedule not in SCHEDULES:
        raise unknown("schedule", schedule, SCHEDULES)
    if iterations is not None and iterations < 1:
        raise UserError(f"a pruner needs at least one round, not {iterations}")
    return Pruner(*split_name(name), 1 if schedule == "one-shot" else iterations, schedule, invert, train_mode)
