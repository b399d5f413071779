"""Anatomy: measures the masks of all networks, relates each statistic to accuracy, and tests published claims."""

from collections.abc import Mapping

import numpy as np

from Experiments.anatomy.claims import claims
from Experiments.anatomy.experiment import finished_runs
from Experiments.anatomy.networks import STATISTICS, measure_networks
from Experiments.anatomy.relations import correlations, explained
from Utils import randomness
from Utils.config.settings import Settings
from Utils.errors import UserError
from Utils.results.artifacts import Artifact
from Utils.results.outcome import Outcome
from Utils.results.run_selection import StoredRun, check_unchanged, runs_by_key
from Utils.training.context import RunContext


def run(settings: Settings, inputs: Mapping[str, Artifact], context: RunContext) -> Outcome:
    """Measure the networks of `--runs`, or those that the study needs; `inputs` are the tables of the latter."""
    networks = measure_networks(_runs(settings, inputs), settings, context)
    seed = int(randomness.generator(settings.run.sample, "resamples").initial_seed())
    relations = correlations(networks, STATISTICS, np.random.default_rng(seed), settings.options.resamples)
    shares = explained(networks)
    tested = claims(networks, relations, shares)
    tables = {"networks": networks, "correlations": relations, "explained": shares, "claims": tested}
    return Outcome.of_study(tables, {"networks": len(networks)})


def _runs(settings: Settings, inputs: Mapping[str, Artifact]) -> list[StoredRun]:
    if settings.options.runs:
        runs = finished_runs(settings)
        check_unchanged(runs, settings.options.runs_key)
        return runs
    keys = {str(artifact.tables["summary"]["run"].iloc[0]) for artifact in inputs.values()}
    runs = runs_by_key(settings.run.out_path, keys)
    if len(runs) < len(keys):
        raise UserError(
            f"{settings.run.out_path} lacks {len(keys) - len(runs)} of the runs that were just finished there"
        )
    return runs
