"""Layer collapse: counts the weights of each layer at rising compressions, and finds the first empty layer."""

import math
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import pandas as pd

from Experiments.common.trial import Trial
from Experiments.theory.runs.levels import count_levels
from Experiments.theory.runs.order import Order
from Experiments.theory.runs.scored import study_outcome
from Layers import Masks
from Utils.config.settings import Settings
from Utils.results.artifacts import Artifact
from Utils.results.outcome import Outcome
from Utils.training.context import RunContext


def run(settings: Settings, inputs: Mapping[str, Artifact], context: RunContext) -> Outcome:
    """Count the kept weights of each layer at each exponent."""
    trial = Trial(settings, context)
    total = Masks.of(trial.model).total
    levels = count_levels(trial, settings.options.exponents or all_quarters(total))
    layers = levels.table["layer"].nunique()
    summary = {
        "prunable": total,
        "maximal_exponent": math.log10(total / layers),
        "critical_exponent": critical_exponent(levels.table, "kept_direct"),
        "effective_critical_exponent": critical_exponent(levels.table, "kept_effective"),
        **_first_empty(levels.table, levels.order),
    }
    return study_outcome(trial, {"levels": levels.table}, summary)


def all_quarters(total: int) -> list[Decimal]:
    """The exponents 0, 1/4, 1/2, ... up to log10(total), exactly: 10^(n/4) is at most `total` if 10^n is total^4."""
    return [Decimal(quarter) / 4 for quarter in range(len(str(total**4)))]


def critical_exponent(table: pd.DataFrame, column: str) -> float:
    """The largest exponent up to which no layer has 0 in a column of counts; nan if one has at the lowest exponent."""
    has_empty = table[column].eq(0).groupby(table["exponent"]).any().cummax()
    return float(has_empty.index[~has_empty].max())


def _first_empty(table: pd.DataFrame, order: Order | None) -> dict[str, Any]:
    """The first layer without weights, and the exact compression at which it loses them if one order serves all.

    Of layers that empty at the same exponent, an order tells which is the first; otherwise it is the first one of the
    network.
    """
    if order is None:
        empty = table.loc[table["kept_direct"] == 0, "layer"]
        return {"first_empty_layer": empty.iloc[0] if len(empty) else None, "first_empty_at": None}
    needed = order.needed()
    layer = max(needed, key=lambda name: needed[name])
    kept = needed[layer] - 1
    return {"first_empty_layer": layer, "first_empty_at": order.total / kept if kept else math.inf}
