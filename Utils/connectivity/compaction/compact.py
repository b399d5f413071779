"""Compaction: the small network of plain layers that a masked network effectively is, with the same outputs."""

import copy
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from Layers import unmask
from Utils.connectivity.compaction.graph import Graph
from Utils.connectivity.compaction.plan import Plan
from Utils.connectivity.compaction.rewriting import CannotRewriteError, rewritten
from Utils.connectivity.unit_groups import nodes_of
from Utils.errors import UserError, one_line

TOLERANCES = {torch.float32: 1e-5, torch.float64: 1e-10, torch.bfloat16: 1e-1, torch.float16: 1e-2}
"""Largest difference of outputs, as a share of the largest output or of 1, by precision."""

_PROBES = 8


@dataclass(frozen=True)
class Compacted:
    """A small network."""

    model: nn.Module
    """Plain layers in evaluation mode, with names that end like those of the masked network."""
    layers: pd.DataFrame
    """A row per call of a Linear or Conv2d layer: `layer`, `units_before`, `units_after`, `inputs_before`,
    `inputs_after`, `parameters_before`, `parameters_after`; 0 after where the layer is gone."""
    kept: list[str]
    """What carries nothing and stays nevertheless, with the reason."""


@torch.no_grad()
def compact(model: nn.Module, input_shape: tuple[int, ...]) -> Compacted:
    """Cut out of a masked network all units and channels that no path leads through; the model stays as it is.

    Constants that cut units would send on are added to biases. `input_shape` excludes the batch axis. The network must
    normalise with running statistics. Raises `UserError` for batch statistics, as `propagate` does, and if the small
    network has other outputs on random inputs than the masked one in evaluation mode.
    """
    _refuse_batch_statistics(model)
    graph = Graph.of(model, input_shape)
    plan = Plan.of(graph)
    while True:
        try:
            small = rewritten(plan)
            break
        except CannotRewriteError as error:
            plan.keep_inputs(error.node)
    parameter = next(model.parameters())
    small = small.to(parameter.device, parameter.dtype)
    for one in small.parameters():
        one.requires_grad_(False)
    check_same_outputs(model, small, _probes(parameter, input_shape))
    return Compacted(small, _layers(plan), _reasons(plan))


def check_same_outputs(model: nn.Module, small: nn.Module, images: Tensor) -> float:
    """The largest difference of the outputs of a masked network in evaluation mode and of another one.

    Raises `UserError` if it is more than `TOLERANCES` times the largest output, or 1.
    """
    # Pruned entries are set to 0, so that the networks differ in nothing but in what was cut out.
    own = unmask(copy.deepcopy(model)).eval()(images)
    try:
        other = small(images)
    except RuntimeError as error:
        raise UserError(
            f"{type(model).__name__} cannot be compacted: an operation counts the channels that it reads "
            f"({one_line(error)}); its class in the operation table needs a method `compact`"
        ) from error
    difference = float((own - other).abs().max())
    allowed = TOLERANCES.get(own.dtype, 1e-5) * max(1.0, float(own.abs().max()))
    if own.shape != other.shape or not difference <= allowed:
        raise UserError(
            f"{type(model).__name__} cannot be compacted: outputs would differ by {difference:.3g}, more than "
            f"{allowed:.3g}"
        )
    return difference


def _probes(parameter: Tensor, input_shape: tuple[int, ...]) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(_PROBES, *input_shape, generator=generator, dtype=torch.float64).to(parameter)


def _refuse_batch_statistics(model: nn.Module) -> None:
    for name, module in model.named_modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.running_mean is None:
            raise UserError(
                f"{type(model).__name__} cannot be compacted: {name} normalises with the statistics of each batch, in "
                "which every channel counts; train it with --batchnorm=running"
            )


def _layers(plan: Plan) -> pd.DataFrame:
    graph, rows = plan.graph, []
    for node, layer in graph.layers.items():
        axis = graph.op(node).channel_axis  # type: ignore[attr-defined]
        units, inputs = (len(plan.axes[end][0][axis]) for end in (node, graph.sources(node)[0]))
        groups = getattr(layer, "groups", 1)
        before, after = (
            (len(layer.weight), layer.weight.shape[1] * groups),
            (units, inputs) if units and inputs else (0, 0),
        )
        has_bias = layer.bias is not None or bool(plan.shifts.get(node, torch.zeros(1)).any())
        # A unit reads the inputs of its group, which are as many in each group that is left.
        per_unit = inputs // max(1, len((plan.axes[node][0][axis] // (len(layer.weight) // groups)).unique()))
        weights = after[0] * per_unit * layer.weight.shape[2:].numel() if after[0] else 0
        rows.append({
            "layer": str(node.target), "units_before": before[0], "units_after": after[0], "inputs_before": before[1],
            "inputs_after": after[1], "parameters_before": sum(one.numel() for one in layer.parameters()),
            "parameters_after": weights + has_bias * after[0],
        })  # fmt: skip
    return pd.DataFrame(rows)


def _reasons(plan: Plan) -> list[str]:
    """A sentence for each reason: how many units of which layers."""
    sentences = []
    for reason, classes in plan.reasons.items():
        counts = {
            name.removesuffix(".weight"): int(np.isin(plan.graph.classes[nodes_of(numbers)], list(classes)).sum())
            for name, numbers in plan.graph.reach.record.numbers.items()
        }
        units = ", ".join(f"{count} of {name}" for name, count in counts.items() if count)
        sentences.append(f"{units} carry nothing, but stay: {reason}")
    return sentences
