"""Conservation of scores by units: scores an unpruned network, and compares what enters and leaves its hidden units."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from Experiments.theory.runs.scored import mask_if_any, raw_scores, scored_trial, study_outcome
from Utils.config.settings import Settings
from Utils.connectivity.unit_sums import unit_sums
from Utils.errors import UserError
from Utils.results.artifacts import Artifact
from Utils.results.outcome import Outcome
from Utils.training.context import RunContext


def run(settings: Settings, inputs: Mapping[str, Artifact], context: RunContext) -> Outcome:
    """Score one network, and sum its scores by hidden unit."""
    trial = scored_trial(settings, context)
    for kind in ("bias", "batchnorm"):
        mask_if_any(trial.model, kind)
    sums = unit_sums(trial.model, trial.data.input_shape, raw_scores(trial))
    if not sums.layers:
        raise UserError(f"{settings.run.architecture} has no hidden units between its inputs and outputs")
    summary = {**conservation(sums.entering, sums.leaving), "units": len(sums.units)}
    columns = {"layer": sums.layers, "unit": sums.units, "score_in": sums.entering, "score_out": sums.leaving}
    return study_outcome(trial, {"unit_scores": pd.DataFrame(columns)}, summary)


def conservation(entering: np.ndarray, leaving: np.ndarray) -> dict[str, float]:
    """Pearson correlation of two sums of each unit, and the largest difference relative to the larger of both.

    The correlation is nan if a sum is the same for all units.
    """
    largest = np.maximum(np.abs(entering), np.abs(leaving))
    scale = largest.max(initial=0) or 1.0
    first, second = (values / scale - (values / scale).mean() for values in (entering, leaving))
    lengths = np.sqrt((first @ first) * (second @ second))
    differences = np.abs(entering - leaving)[largest > 0] / largest[largest > 0]
    return {
        "correlation": float(first @ second / lengths) if lengths else np.nan,
        "max_relative_difference": float(differences.max(initial=0)),
    }
