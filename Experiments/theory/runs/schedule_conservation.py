"""Conservation and the schedule of SynFlow: prunes in rounds, and compares the pruned scores of each with the flow."""

import time
from collections.abc import Mapping
from typing import Any

import pandas as pd
from torch import Tensor, nn

from Experiments.theory.runs.scored import scored_trial, study_outcome
from Layers import Masks, prunable
from Pruners.criteria.linearised import linearise
from Pruners.criteria.synflow import scores_and_flow
from Pruners.pruner import load
from Pruners.registry import CRITERIA, SCHEDULES
from Pruners.schedules.rounds import budgets, prune_in_rounds
from Utils.config.settings import Settings
from Utils.results.artifacts import Artifact
from Utils.results.outcome import Outcome
from Utils.training.context import RunContext


def run(settings: Settings, inputs: Mapping[str, Artifact], context: RunContext) -> Outcome:
    """Prune one network by SynFlow."""
    trial, pruning = scored_trial(settings, context), settings.pruning
    model, started = trial.model, time.perf_counter()
    linearise(model)
    total, rounds = Masks.of(model).total, pruning.prune_iterations or CRITERIA["synflow"].iterations
    record = PrunedScores(model, trial.data.input_shape)
    schedule = load(SCHEDULES[pruning.schedule].target)
    prune_in_rounds(model, record.score, budgets(settings.target, total, rounds, schedule), "synflow")
    table = record.table()
    trial.prune_seconds = time.perf_counter() - started
    summary = {
        "target_kept": settings.target.kept(total),
        "prunable": total,
        "kept_direct": Masks.of(model).kept,
        "prune_iterations": rounds,
        "schedule": pruning.schedule,
        "max_ratio": table["ratio"].max(),
        "emptied_layers": sum(not bool(mask.any()) for mask in Masks.of(model).values()),
    }
    return study_outcome(trial, {"rounds": table}, summary)


class PrunedScores:
    """Scores a linearised network round by round, and records the scores that each round prunes."""

    def __init__(self, model: nn.Module, input_shape: tuple[int, ...]) -> None:
        self.model, self.input_shape = model, input_shape
        self.scores: dict[str, Tensor] = {}
        """Scores of the current round; pruned entries have 0."""
        self.flow = 0.0
        """The flow of the current round, with the factor of its scores."""
        self.kept = Masks.of(model).kept
        self.rows: list[dict[str, Any]] = []

    def score(self) -> dict[str, Tensor]:
        """Scores of the next round; the masks are those that the current round left."""
        self._finish_round()
        self.scores, self.flow = scores_and_flow(self.model, self.input_shape)
        return self.scores

    def table(self) -> pd.DataFrame:
        """One row per round: the numbers of pruned and of kept entries, and the ratio of pruned scores to the flow.

        The ratio is missing in rounds without a flow. Valid after the last round.
        """
        self._finish_round()
        return pd.DataFrame(self.rows, columns=["round", "pruned", "kept", "ratio"])

    def _finish_round(self) -> None:
        """Append the row of the current round, if there is one, by the masks that it left."""
        if not self.scores:
            return
        masks = {name: mask for name, (_, mask) in prunable(self.model).items()}
        pruned = sum(float(score.masked_fill(masks[name], 0).sum()) for name, score in self.scores.items())
        before, self.kept = self.kept, sum(int(mask.sum()) for mask in masks.values())
        ratio = pruned / self.flow if self.flow else float("nan")
        row = {"round": len(self.rows) + 1, "pruned": before - self.kept, "kept": self.kept, "ratio": ratio}
        self.rows.append(row)
        self.scores = {}
