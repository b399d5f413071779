"""Effective gap: effective weights, dead units and structural rank over the whole order of a pruner."""

import math
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from Experiments.common.trial import Trial
from Experiments.theory.runs.order import Order, order_of
from Experiments.theory.runs.scored import study_outcome
from Utils.config.settings import Settings
from Utils.connectivity.effective import counts_by_kept
from Utils.connectivity.statistics.structural_rank import rank_curve
from Utils.results.artifacts import Artifact
from Utils.results.outcome import Outcome
from Utils.training.context import RunContext

_LEVELS = 300
"""Number of compressions in the table, evenly spaced on a logarithmic axis, besides those of changes."""


def run(settings: Settings, inputs: Mapping[str, Artifact], context: RunContext) -> Outcome:
    """Compare direct and effective compression at every level of one order."""
    trial = Trial(settings, context)
    order = order_of(trial, settings.target)
    needed = rank_curve(trial.model, order.effective, trial.data.input_shape)
    effective = counts_by_kept(order.effective).cpu().numpy()
    gap = largest_gap(effective)
    changes = (gap.kept, settings.target.kept(order.total), order.path, order.path - 1, *needed)
    table = gap_table(order, effective, needed, changes)
    summary = {
        "prunable": order.total,
        "hidden_units": len(order.unit_ranks()),
        "disconnected_at": order.total / order.path if order.path else math.inf,
        "largest_gap": gap.ratio,
        "largest_gap_at": order.total / gap.kept,
    }
    return study_outcome(trial, {"gap": table}, summary)


class Gap(NamedTuple):
    """Where an order has the largest ratio of effective to direct compression."""

    kept: int
    """Number of kept weights."""
    ratio: float


def largest_gap(effective: np.ndarray) -> Gap:
    """The largest gap at which a weight is effective; of equal gaps, the one of the highest compression.

    `effective` (N + 1,) are effective counts by the number of kept weights. The gap of a network without any path is
    nan, at the unpruned network.
    """
    kept = effective.nonzero()[0]
    if not len(kept):
        return Gap(len(effective) - 1, math.nan)
    ratios = kept / effective[kept]
    return Gap(int(kept[ratios.argmax()]), float(ratios.max()))


def gap_table(order: Order, effective: np.ndarray, needed: np.ndarray, changes: Iterable[int]) -> pd.DataFrame:
    """Direct and effective weights, dead hidden units and structural rank at falling numbers of kept weights.

    `effective` (N + 1,) are effective counts by the number of kept weights, and `needed` the numbers of kept weights
    from which on the structural rank is 1, 2, ...; `changes` are numbers of kept weights to include.
    """
    total = order.total
    spaced = np.geomspace(1, total, _LEVELS).round().astype(int)
    kept = np.unique(np.clip([*spaced, *changes], 1, total))[::-1]
    units = order.unit_ranks().sort().values.cpu().numpy()
    dead = np.searchsorted(units, total - kept + 1)
    columns: dict[str, Any] = {
        "kept_direct": kept,
        "kept_effective": effective[kept],
        "direct_compression": total / kept,
        "effective_compression": [total / count if count else math.inf for count in effective[kept]],
        "dead_units": dead,
        "dead_share": dead / max(1, len(units)),
        "structural_rank": np.searchsorted(needed, kept, side="right"),
    }
    return pd.DataFrame(columns)
