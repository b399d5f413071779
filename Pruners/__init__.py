"""Pruners by name: `make_pruner` combines a criterion with a quota; `registry.py` lists both."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

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
    quota_options: Mapping[str, Any] | None = None,
) -> Pruner:
    """The pruner with a name such as `"snip"`, `"random/igq"` or `"random/snip"`.

    `iterations` is the number of rounds of scoring and pruning (None: the criterion's default); `schedule` sets how
    many weights each round prunes. `invert` reverses the criterion's order. `train_mode=False` scores examples in
    evaluation mode. `quota_options` are arguments that only this quota takes. Raises `UserError` for an unknown name or
    schedule and for fewer than one round.
    """
    from Pruners.pruner import Pruner

    if schedule not in SCHEDULES:
        raise unknown("schedule", schedule, SCHEDULES)
    if iterations is not None and iterations < 1:
        raise UserError(f"a pruner needs at least one round, not {iterations}")
    rounds = 1 if schedule == "one-shot" else iterations
    return Pruner(*split_name(name), rounds, schedule, invert, train_mode, quota_options or {})
