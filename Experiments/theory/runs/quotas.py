"""Quotas: counts the weights that each layer keeps at chosen compressions."""

from collections.abc import Mapping

from Experiments.common.trial import Trial
from Experiments.theory.runs.levels import count_levels
from Experiments.theory.runs.scored import study_outcome
from Layers import Masks
from Utils.config.settings import Settings
from Utils.results.artifacts import Artifact
from Utils.results.outcome import Outcome
from Utils.training.context import RunContext


def run(settings: Settings, inputs: Mapping[str, Artifact], context: RunContext) -> Outcome:
    """Count the kept weights of each layer at each exponent."""
    trial = Trial(settings, context)
    table = count_levels(trial, settings.options.exponents).table
    densities = table["kept_direct"] / table["size"]
    summary = {"prunable": Masks.of(trial.model).total, "lowest_density": float(densities.min())}
    return study_outcome(trial, {"levels": table}, summary)
