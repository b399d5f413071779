"""Conservation in magnitude pruning: trains a dense network, and follows the mean squared weights of its layers."""

from collections.abc import Mapping
from typing import Any

import pandas as pd
import torch
from torch import nn

from Experiments.common.trial import Trial
from Experiments.theory.runs.log_fit import log_fit
from Layers import prunable
from Models.weight_inits import reinitialise
from Utils import randomness
from Utils.config.choices import UNCHANGED
from Utils.config.settings import Settings
from Utils.results.artifacts import Artifact
from Utils.results.outcome import Outcome
from Utils.training.callbacks import Callback
from Utils.training.context import RunContext
from Utils.training.state import TrainingState


def run(settings: Settings, inputs: Mapping[str, Artifact], context: RunContext) -> Outcome:
    """Train one network, and record its weights at each test."""
    trial, init = Trial(settings, context), settings.options.weight_init
    if init != UNCHANGED:
        reinitialise(trial.model, init, randomness.generator(settings.run.sample, "new weights"))
    record = SquaredWeights(trial.model)
    history = trial.train(record)
    tables = {"layer_weights": record.table(), "slopes": record.slopes()}
    slopes = tables["slopes"]["slope"]
    columns = {"first_slope": slopes.iloc[0], "last_slope": slopes.iloc[-1]}
    return trial.outcome(trial.measure(), history, columns, tables)


class SquaredWeights(Callback):
    """Records the mean squared weight, biases included, of each layer at each test; pruned entries do not count."""

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self.rows: list[dict[str, Any]] = []

    def after_test(self, training: TrainingState, member: int) -> None:
        """Append a row for each layer."""
        test = training.histories[member].last
        place = {name: test[name] for name in ("iteration", "epoch")}
        self.rows += [place | row for row in squared_weights(self.model)]

    def state(self) -> dict[str, Any]:
        """The rows."""
        return {"rows": self.rows}

    def load(self, state: Mapping[str, Any]) -> None:
        """Restore a result of `state`."""
        self.rows = state["rows"]

    def table(self) -> pd.DataFrame:
        """One row for each test and layer."""
        return pd.DataFrame(self.rows)

    def slopes(self) -> pd.DataFrame:
        """For each test, slope and correlation of the logarithms of mean squared weights and inverse sizes."""
        fits = [
            {"iteration": iteration, "epoch": rows["epoch"].iloc[0]}
            | log_fit(rows["inverse_size"], rows["mean_square"])._asdict()
            for iteration, rows in self.table().groupby("iteration")
        ]
        return pd.DataFrame(fits)


@torch.no_grad()
def squared_weights(model: nn.Module) -> list[dict[str, Any]]:
    """The size (kept weights and biases) and the mean square of each layer that is not empty."""
    rows = []
    for name, (weight, mask) in prunable(model).items():
        layer = name.removesuffix(".weight")
        bias = getattr(model.get_submodule(layer), "bias", None)
        values = weight[mask] if bias is None else torch.cat([weight[mask], bias])
        if bool(mask.any()):
            square = float(values.double().square().mean())
            rows.append({"layer": layer, "size": len(values), "inverse_size": 1 / len(values), "mean_square": square})
    return rows
