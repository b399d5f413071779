"""Conservation of scores by layers: scores an unpruned network, and compares the average scores of its layers."""

from collections.abc import Mapping

import pandas as pd
import torch
from torch import Tensor

from Experiments.theory.runs.log_fit import log_fit
from Experiments.theory.runs.scored import mask_if_any, raw_scores, scored_trial, study_outcome
from Layers import Masks
from Utils.config.settings import Settings
from Utils.results.artifacts import Artifact
from Utils.results.outcome import Outcome
from Utils.training.context import RunContext


def run(settings: Settings, inputs: Mapping[str, Artifact], context: RunContext) -> Outcome:
    """Score one network, and sum its scores by layer."""
    trial = scored_trial(settings, context)
    mask_if_any(trial.model, "bias")
    table = layer_scores(raw_scores(trial), Masks.of(trial.model))
    fit = log_fit(table["inverse_size"], table["average_score"])
    totals = table["score"]
    spread = float((totals.max() - totals.min()) / totals.mean())
    return study_outcome(trial, {"layer_scores": table}, {**fit._asdict(), "spread": spread})


def layer_scores(scores: Mapping[str, Tensor], masks: Masks) -> pd.DataFrame:
    """For each layer, the kept weights and biases (`size`), and the absolute value of the sum of their scores."""
    sizes: dict[str, int] = {}
    totals: dict[str, float] = {}
    for name, values in scores.items():
        layer = name.rpartition(".")[0]
        sizes[layer] = sizes.get(layer, 0) + int(masks[name].sum())
        totals[layer] = totals.get(layer, 0.0) + float(values.sum(dtype=torch.float64))
    rows = [
        {"layer": layer, "size": size, "inverse_size": 1 / size, "score": total, "average_score": total / size}
        for (layer, size), total in zip(sizes.items(), map(abs, totals.values()), strict=True)
        if size
    ]
    return pd.DataFrame(rows, columns=["layer", "size", "inverse_size", "score", "average_score"])
