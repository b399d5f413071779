"""Levels: the weights that each layer keeps at several compressions, by the order of one pruner.

A criterion of one round scores the network once, and its order gives the counts at all levels. A criterion in rounds
scores the network again for each level; a checkpoint holds the finished levels.
"""

import math
from collections.abc import Sequence
from decimal import Decimal
from typing import Any, NamedTuple

import pandas as pd
from tqdm import tqdm

from Experiments.common.pruner_names import depends_on_target
from Experiments.common.trial import Trial
from Experiments.theory.runs.order import Order, order_of
from Layers import Masks
from Utils.config.target import Target
from Utils.errors import UserError

LEVEL_COLUMNS = ("exponent", "layer", "size", "kept_direct", "kept_effective")


class Levels(NamedTuple):
    """Counts at each level, and the order that they have in common."""

    table: pd.DataFrame
    """`LEVEL_COLUMNS`, with one row for each exponent and layer."""
    order: Order | None
    """None if each level has an order of its own."""


def count_levels(trial: Trial, exponents: Sequence[Decimal]) -> Levels:
    """Count the kept and the effective weights of each layer at compressions 10^exponent, in rising order.

    Raises `UserError` for a compression beyond the number of weights, and if the quota of the pruner fixes more weights
    than a level keeps.
    """
    _check(exponents[-1], Masks.of(trial.model).total)
    if depends_on_target(trial.settings.pruning):
        return Levels(_table(_levels_in_rounds(trial, exponents)), None)
    order = order_of(trial, Target(com_exp=exponents[-1]))
    return Levels(_table([row for exponent in exponents for row in _rows(order, exponent)]), order)


def _check(exponent: Decimal, total: int) -> None:
    """Raise `UserError` for a compression 10^exponent that would leave less than one weight."""
    if exponent > Decimal(total).log10():
        highest = math.floor(100 * math.log10(total)) / 100
        raise UserError(
            f"--exponents={exponent} leaves less than one of the {total} weights of this network; it can be at most "
            f"{highest:.2f}"
        )


def _levels_in_rounds(trial: Trial, exponents: Sequence[Decimal]) -> list[dict[str, Any]]:
    """The rows of all levels, each by an order of its own; an interrupted run resumes after the last checkpoint."""
    stage = trial.context.stage("levels")
    rows: list[dict[str, Any]] = (stage.load_checkpoint() or {"rows": []})["rows"]
    finished = len({row["exponent"] for row in rows})
    bar = tqdm(
        exponents[finished:], desc=f"levels of {trial.settings.pruning.pruner}", unit="level", initial=finished,
        total=len(exponents), leave=False, disable=None, delay=2, dynamic_ncols=True,
    )  # fmt: skip
    for count, exponent in enumerate(bar, finished + 1):
        rows += _rows(order_of(trial, Target(com_exp=exponent)), exponent)
        if stage.is_due(count, count == len(exponents)):
            stage.save_checkpoint({"rows": rows})
    return rows


def _rows(order: Order, exponent: Decimal) -> list[dict[str, Any]]:
    """One row for each layer at a level."""
    threshold = order.threshold(Target(com_exp=exponent).kept(order.total))
    return [
        {
            "exponent": float(exponent),
            "layer": name,
            "size": rank.numel(),
            "kept_direct": int((rank >= threshold).sum()),
            "kept_effective": int((order.effective[name] >= threshold).sum()),
        }
        for name, rank in order.ranks.items()
    ]


def _table(rows: list[dict[str, Any]]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=list(LEVEL_COLUMNS))
