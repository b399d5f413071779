"""Networks of the study: the masks of finished runs, measured."""

import copy
import math
from dataclasses import replace
from functools import lru_cache
from typing import Any

import pandas as pd
import torch
from torch import nn
from tqdm import tqdm

from Experiments.common.network import initial_model, load_data, new_weights, restore
from Layers import prunable
from Pruners.criteria.gradients import loss_gradients
from Utils.config.resolved import DataSpec
from Utils.config.settings import Settings
from Utils.connectivity.statistics.graph import graph_statistics
from Utils.connectivity.statistics.informative_inputs import kept_inputs, linear_accuracy
from Utils.connectivity.statistics.ntk import ntk
from Utils.connectivity.statistics.spectral import spectral_means, spectral_table
from Utils.data.dataset import Batches, Data
from Utils.errors import UserError
from Utils.machine import pick_device
from Utils.results.artifacts import read_artifact
from Utils.results.run_selection import StoredRun
from Utils.sparsity.measure import measure
from Utils.training.context import RunContext

STATISTICS = (
    "structural_rank", "min_width", "participation_width", "effective_nodes", "log_paths", "node_path_balance",
    "node_strength", "kept_direct", "informative_inputs", "kept_inputs", "spectral_gap",
    "weighted_spectral_gap", "difference_of_bound", "imdb", "ntk_trace", "ntk_condition",
    "gradient_norm",
)  # fmt: skip
"""Columns that are related to accuracy; `ntk_condition` is a logarithm, `gradient_norm` that of the loss."""

_OF_RUN: dict[str, type] = {
    **dict.fromkeys(("run", "pruner"), str),
    **dict.fromkeys(("sample", "iterations", "target_kept", "prunable", "kept_direct", "kept_effective"), int),
    **dict.fromkeys(("target_compression", "direct_compression", "effective_compression"), float),
    **dict.fromkeys(("top1", "best_top1", "chance"), float),
}
"""Columns that a network has from the row of its run; plain types, so that a checkpoint holds them."""

_IMAGES = 32
"""Test images of the neural tangent kernel."""

_EXAMPLES = 5_000
"""Training images, at most, of the linear classifier on kept inputs."""


def measure_networks(runs: list[StoredRun], settings: Settings, context: RunContext) -> pd.DataFrame:
    """One row per network, in order: columns of its run, its control, and `STATISTICS`.

    An interrupted study resumes after the networks of its last checkpoint. Raises `UserError` if the masks of a run are
    gone, and for runs that trained nothing.
    """
    stage = context.stage("networks")
    rows: list[dict[str, Any]] = (stage.load_checkpoint() or {}).get("rows", [])
    bar = tqdm(
        runs[len(rows) :], desc="measuring masks", unit="network", initial=len(rows), total=len(runs), leave=False,
        disable=None if context.has_bar else True, position=context.bars_above, dynamic_ncols=True,
    )  # fmt: skip
    for run in bar:
        rows.append(_row(run, settings))
        bar.set_postfix(pruner=run.row["pruner"], refresh=False)
        if stage.is_due(len(rows), len(rows) == len(runs)):
            stage.save_checkpoint({"rows": rows})
    return pd.DataFrame(rows)


def _row(run: StoredRun, settings: Settings) -> dict[str, Any]:
    own = {name: kind(run.row[name]) for name, kind in _OF_RUN.items()}
    return own | {"control": _control(run.settings)} | _statistics(run, settings)


def _control(settings: Settings) -> str:
    names = [name for name in ("shuffle", "reinitialize", "invert") if getattr(settings.pruning, name)]
    return "+".join(names) or "none"


def _statistics(run: StoredRun, settings: Settings) -> dict[str, Any]:
    """The statistics of the network that a run started to train."""
    spec = replace(run.settings.data_spec, path=settings.run.path_to_data)
    data = _data(spec if spec.validation else replace(spec, sample=0), settings.machine.device)
    model = _masked_network(run, settings, data)
    graph = graph_statistics(model, data.input_shape)
    totals = measure(model, data.input_shape).totals
    kept = kept_inputs(model, data.input_shape)
    spectral = spectral_means(spectral_table(model))
    images, _ = _first(data, data.test, _IMAGES)
    kernel = ntk(model, images)
    return {
        "empty_layers": totals["empty_layers"],
        "structural_rank": graph.structural_rank,
        "min_width": graph.min_width,
        "participation_width": graph.participation_width,
        "effective_nodes": graph.effective_nodes,
        "log_paths": graph.log_paths,
        "node_path_balance": graph.node_path_balance,
        "node_strength": graph.node_strength,
        "kept_inputs": int(kept.sum()),
        "informative_inputs": _linear_accuracy(data, kept),
        **{name: spectral[f"mean_{name}"] for name in STATISTICS if f"mean_{name}" in spectral},
        "ntk_trace": kernel.trace,
        "ntk_condition": math.log10(kernel.condition) if kernel.condition > 0 else math.nan,
        "gradient_norm": _gradient_norm(model, data),
    }


def _gradient_norm(model: nn.Module, data: Data) -> float:
    """Norm of the gradient of the loss with respect to kept weights, at the start of training: its gradient flow.

    Evci et al. 2022 ("Gradient flow in sparse neural networks") relate it to how well sparse networks train.
    """
    images, labels = _first(data, data.train, _EXAMPLES)
    # In single precision, the rounding of units that hardly vary would be a visible part of a small norm.
    gradients = loss_gradients(copy.deepcopy(model).double(), [(images.double(), labels)])
    masks = {name: mask for name, (_, mask) in prunable(model).items()}
    return math.sqrt(sum(float((gradient * masks[name]).square().sum()) for name, gradient in gradients.items()))


def _masked_network(run: StoredRun, settings: Settings, data: Data) -> nn.Module:
    """The network of a run with its masks, as it was when its training began."""
    spec = replace(run.settings.network_spec, results=settings.run.out_path)
    model = initial_model(spec, data)
    if run.settings.pruning.reinitialize:
        restore(model, new_weights(spec, data))
    if not (run.folder / "masks.safetensors").is_file():
        raise UserError(
            f"{run.folder} has no masks any more; the same main.py command with --overwrite makes them again"
        )
    masks = read_artifact(run.folder, "masks").masks
    assert masks is not None
    masks.install(model)
    return model.to(pick_device(settings.machine.device))


@lru_cache(maxsize=1)
def _data(spec: DataSpec, device: str) -> Data:
    return load_data(spec, pick_device(device))


def _first(data: Data, split: Any, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The first images of a split, normalised, and their labels."""
    count = min(count, len(split))
    return next(iter(Batches(data, split, count, torch.arange(count))))


def _linear_accuracy(data: Data, kept: torch.Tensor) -> float:
    return linear_accuracy(*_first(data, data.train, _EXAMPLES), *_first(data, data.test, _EXAMPLES), kept)
