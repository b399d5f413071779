"""Interpreter: sends ranks through a network, forward from its inputs and backward from its outputs.

It runs the model's `torch.fx` graph with (max, min) in place of (+, x). The value of an activation is the maximum, over
all paths from the inputs, of the lowest rank on the path. `ops/table.py` lists what each operation does to ranks.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from Utils.connectivity.ops.unit_record import UnitRecord
from Utils.connectivity.ops.vertex_record import VertexRecord
from Utils.connectivity.passes import Passes, Propagation, Reach, node_op

__all__ = [
    "Propagation",
    "Reach",
    "arrivals",
    "node_op",
    "output_layers",
    "propagate",
    "record_units",
    "record_vertices",
]


@torch.no_grad()
def propagate(
    model: nn.Module, ranks: Mapping[str, Tensor], input_shape: tuple[int, ...], per_channel: bool = False
) -> Propagation:
    """Send ranks through a model, once forward and once backward.

    `ranks` maps parameter names to int32 tensors, 0 = pruned; parameters without ranks pass every rank. `input_shape`
    excludes the batch axis. `per_channel` ignores positions: a channel is reached if any of its positions is reached.
    Raises `UserError` for a model that torch.fx cannot trace, or for an operation without a rule, which it names.
    """
    return Passes(model, ranks, input_shape, per_channel).run()


def output_layers(model: nn.Module) -> frozenset[str]:
    """Names of the layers whose units are a model's outputs; raises `UserError` if torch.fx cannot trace the model."""
    return Passes(model, {}, (), per_channel=True).output_layers()


@torch.no_grad()
def record_units(model: nn.Module, input_shape: tuple[int, ...]) -> UnitRecord:
    """What the operations of a model say about the units of its layers; those of inputs and outputs cannot be removed.

    Raises `UserError` as `propagate` does.
    """
    return Passes(model, {}, input_shape, per_channel=False).units()


@torch.no_grad()
def record_vertices(model: nn.Module, masks: Mapping[str, Tensor], input_shape: tuple[int, ...]) -> VertexRecord:
    """The vertices and edges of a model's channel graph; `masks` name the parameters that can be pruned.

    Raises `UserError` as `propagate` does.
    """
    return Passes(model, masks, input_shape, per_channel=False).vertices()


@torch.no_grad()
def arrivals(model: nn.Module, start: Tensor) -> dict[str, Any]:
    """The highest rank that arrives at each entry of each value in the traced graph of a model, by the node's name.

    `start` holds the ranks of the input's entries (int32, without batch axis); no weight is pruned. Raises `UserError`
    as `propagate` does.
    """
    return Passes(model, {}, tuple(start.shape), per_channel=False).arrivals(start)


@torch.no_grad()
def reach(model: nn.Module, masks: Mapping[str, Tensor], input_shape: tuple[int, ...]) -> Reach:
    """What each value of the traced graph has to do with the inputs, with the outputs, and with the units of layers.

    `masks` are bool, by parameter; others have no pruned entries. Raises `UserError` as `propagate` does.
    """
    ranks = {name: mask.to(torch.int32) for name, mask in masks.items()}
    return Passes(model, ranks, input_shape, per_channel=False).reach()
