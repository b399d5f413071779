"""Measurement of a pruned network, and the outcome of its run."""

import warnings
from typing import Any

import pandas as pd
from torch import Tensor, nn

from Experiments.common.network import state_of
from Layers import Masks, prunable
from Utils.config.settings import Settings
from Utils.data.dataset import Data, chance
from Utils.machine import describe_machine
from Utils.results.outcome import Outcome
from Utils.results.schema import TRAINING_COLUMNS
from Utils.sparsity.measure import Measurement, measure
from Utils.training.evaluation import History


def measure_network(model: nn.Module, data: Data, settings: Settings) -> Measurement:
    """Measure the sparsity of a network; warns if it has collapsed."""
    measurement = measure(model, data.input_shape)
    if measurement.totals["collapsed"]:
        warnings.warn(f"{settings.title()} has collapsed: no path from input to output is left", stacklevel=3)
    return measurement


def make_outcome(
    model: nn.Module,
    data: Data,
    measurement: Measurement,
    history: History,
    target_kept: int,
    prune_seconds: float,
    columns: dict[str, Any] | None = None,
    tables: dict[str, pd.DataFrame] | None = None,
) -> Outcome:
    """Collect the tables, masks and weights of a run; `columns` are summary columns of the experiment, with values."""
    last = history.last
    summary = {
        "target_kept": target_kept,
        **measurement.totals,
        "top1": last["top1"],
        "top5": last["top5"],
        "best_top1": history.best("top1"),
        "test_loss": last["test_loss"],
        "train_loss": last["train_loss"],
        "iterations": int(last["iteration"]),
        "prune_seconds": prune_seconds,
        "train_seconds": last["seconds"],
        "chance": chance(data.test),
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        **(columns or {}),
    }
    device = next(model.parameters()).device
    return Outcome(
        summary, measurement.layers, pd.DataFrame(history.rows, columns=list(TRAINING_COLUMNS)),
        Masks.of(model).to("cpu"), pruned_weights(model), describe_machine(device),
        {"units": measurement.units, "inputs": measurement.inputs, **(tables or {})}, history.error,
    )  # fmt: skip


def pruned_weights(model: nn.Module) -> dict[str, Tensor]:
    """State of a network without masks, pruned entries zero, for loading into an unmasked network."""
    state = state_of(model)
    for name, (weight, mask) in prunable(model).items():
        state[name] = weight.detach() * mask
    return {name: value.cpu().contiguous() for name, value in state.items()}
