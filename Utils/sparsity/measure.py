"""Measurement of sparsity: direct and effective counts of weights, multiply-adds and units of a network."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn

from Layers import prunable
from Utils.connectivity.effective import dead_units, effective_masks, empty_layers, masks_or_own, propagate_masks
from Utils.connectivity.interpreter import Propagation
from Utils.connectivity.statistics.graph import graph_statistics
from Utils.results.schema import LAYER_COLUMNS


def direct_sparsity(model: nn.Module, masks: Mapping[str, Tensor] | None = None) -> float:
    """The fraction of prunable entries that are pruned by `masks`; None: by the masks of the model."""
    kept = masks_or_own(model, masks)
    return 1 - _count(kept) / sum(mask.numel() for mask in kept.values())


def effective_sparsity(
    model: nn.Module,
    input_shape: tuple[int, ...],
    masks: Mapping[str, Tensor] | None = None,
    effective_type: str = "exact",
) -> float:
    """The fraction of prunable entries that are pruned or ineffective.

    An entry is ineffective if it lies on no path of kept weights from input to output. `input_shape` excludes the batch
    axis; `masks` replace the masks of the model; `effective_type` is `exact` or `graph`.
    """
    effective = effective_masks(model, input_shape, masks, effective_type)
    return 1 - _count(effective) / sum(mask.numel() for mask in effective.values())


@dataclass(frozen=True)
class Measurement:
    """The sparsity of a network as written to the result files."""

    totals: dict[str, Any]
    """Counts of the whole network, by column of `summary.csv`."""
    layers: pd.DataFrame
    """`LAYER_COLUMNS`, with one row per prunable parameter."""
    units: pd.DataFrame
    """For each layer with hidden units: units without a kept incoming weight, and without an effective one."""
    inputs: pd.DataFrame
    """Numbers of kept and of effective weights at each input (or kernel entry) of the first layer."""


def measure(model: nn.Module, input_shape: tuple[int, ...]) -> Measurement:
    """Measure a model's sparsity, in total and per layer; `input_shape` excludes the batch axis."""
    propagation = propagate_masks(model, input_shape)
    effective = {name: ranks > 0 for name, ranks in propagation.effective.items()}
    layers = _layer_table(model, effective, propagation)
    graph_kept = _count(effective_masks(model, input_shape, effective_type="graph"))
    size, direct, kept = (int(layers[column].sum()) for column in ("size", "kept_direct", "kept_effective"))
    unmasked_macs, graph = _unmasked_macs(model, propagation), graph_statistics(model, input_shape, effective)
    totals = {
        "prunable": size,
        "kept_direct": direct,
        "kept_effective": kept,
        "direct_sparsity": 1 - direct / size,
        "effective_sparsity": 1 - kept / size,
        "direct_compression": compression(size, direct),
        "effective_compression": compression(size, kept),
        "graph_kept_effective": graph_kept,
        "graph_effective_sparsity": 1 - graph_kept / size,
        "structural_rank": graph.structural_rank,
        "min_width": graph.min_width,
        "participation_width": graph.participation_width,
        "min_layer_effective_density": float((layers["kept_effective"] / layers["size"]).min()),
        "empty_layers": len(empty_layers(effective)),
        "dead_units": sum(dead_units(effective, propagation.output_layers).values()),
        "collapsed": propagation.output == 0,
        **{column: int(layers[column].sum()) + unmasked_macs for column in ("macs", "direct_macs", "effective_macs")},
    }
    units = _unit_table(model, effective, propagation)
    return Measurement(totals, layers, units, _input_table(model, effective, input_shape))


def compression(total: int, kept: int) -> float:
    """The compression ratio, total / kept; infinite if nothing is kept."""
    return total / kept if kept else float("inf")


@dataclass(frozen=True)
class MacCounter:
    """Counts the multiply-adds of a network for one input under any masks."""

    positions: Mapping[str, int]
    """How often an input uses an entry of each prunable parameter."""
    unmasked: int
    """Multiply-adds of layers without masks."""

    @classmethod
    def of(cls, model: nn.Module, input_shape: tuple[int, ...]) -> "MacCounter":
        """The counter of a model; `input_shape` excludes the batch axis."""
        propagation = propagate_masks(model, input_shape)
        positions = {name: _positions(name, propagation) for name in prunable(model)}
        return cls(positions, _unmasked_macs(model, propagation))

    def count(self, masks: Mapping[str, Tensor]) -> int:
        """The multiply-adds of kept entries."""
        return self.unmasked + sum(int(mask.sum()) * self.positions[name] for name, mask in masks.items())


def _positions(name: str, propagation: Propagation) -> int:
    """How often an input uses an entry of a prunable parameter; multiply-adds of biases and factors do not count."""
    layer, _, parameter = name.rpartition(".")
    return propagation.positions.get(layer, 0) if parameter == "weight" else 0


def _layer_table(model: nn.Module, effective: Mapping[str, Tensor], propagation: Propagation) -> pd.DataFrame:
    rows = []
    for name, (weight, mask) in prunable(model).items():
        size, direct, kept = weight.numel(), int(mask.sum()), int(effective[name].sum())
        positions = _positions(name, propagation)
        rows.append(
            {
                "layer": name,
                "shape": "x".join(map(str, weight.shape)),
                "size": size,
                "kept_direct": direct,
                "kept_effective": kept,
                "direct_sparsity": 1 - direct / size,
                "effective_sparsity": 1 - kept / size,
                "macs": size * positions,
                "direct_macs": direct * positions,
                "effective_macs": kept * positions,
            }
        )
    return pd.DataFrame(rows, columns=list(LAYER_COLUMNS))


def _unit_table(model: nn.Module, effective: Mapping[str, Tensor], propagation: Propagation) -> pd.DataFrame:
    direct = dead_units({name: mask for name, (_, mask) in prunable(model).items()}, propagation.output_layers)
    rows = [
        {"layer": name, "units": len(effective[name]), "direct_dead_units": direct[name], "dead_units": dead}
        for name, dead in dead_units(effective, propagation.output_layers).items()
    ]
    return pd.DataFrame(rows, columns=["layer", "units", "direct_dead_units", "dead_units"])


def _input_table(model: nn.Module, effective: Mapping[str, Tensor], input_shape: tuple[int, ...]) -> pd.DataFrame:
    kernels = ((name, mask) for name, (_, mask) in prunable(model).items() if mask.dim() > 1)
    name, mask = next(kernels)
    is_kernel = mask.dim() > 2
    if is_kernel:
        shape = tuple(mask.shape[1:])
    else:
        shape = input_shape if math.prod(input_shape) == mask.shape[1] else (mask.shape[1],)
    shape = (*shape, *[1] * (3 - len(shape)))
    coordinates = torch.cartesian_prod(*(torch.arange(size) for size in shape)).numpy()
    table = pd.DataFrame(coordinates, columns=["channel", "row", "column"])
    counts = {
        "kept_direct": mask.sum(0).flatten().tolist(),
        "kept_effective": effective[name].sum(0).flatten().tolist(),
    }
    return table.assign(**counts, is_kernel=int(is_kernel))


def _unmasked_macs(model: nn.Module, propagation: Propagation) -> int:
    """Multiply-adds of layers without masks, which pruning never saves."""
    masked = {name.rpartition(".")[0] for name in propagation.effective}
    weights: dict[str, Any] = {name: model.get_submodule(name).weight for name in propagation.positions.keys() - masked}
    return sum(weight.numel() * propagation.positions[name] for name, weight in weights.items())


def _count(masks: Mapping[str, Tensor]) -> int:
    return sum(int(mask.sum()) for mask in masks.values())
