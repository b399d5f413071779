"""Permuted networks: the same function with the units of hidden layers in another order."""

import copy
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn

from Utils.connectivity.interpreter import record_units
from Utils.connectivity.unit_groups import nodes_of
from Utils.errors import UserError

_TOLERANCE = 1e-3
"""Relative difference of outputs up to which two networks count as one function: rounding, and no more."""


@torch.no_grad()
def permuted(model: nn.Module, input_shape: tuple[int, ...], permutations: Mapping[str, np.ndarray]) -> nn.Module:
    """A copy of a network whose layers have their units in other orders, and whose readers follow.

    `permutations` holds, by name of the layer, integers (units,): unit i of the copy is unit `permutations[layer][i]`
    of the network; other layers keep their order. Layers that meet in a sum need one order. Weights, masks, biases and
    channels of batch normalisation move, through flattening too. Raises `UserError` if the copy is another function,
    as it is with orders of outputs, with unlike orders of tied layers, and where units are read in groups.
    """
    record = record_units(model, input_shape)
    source = np.arange(1 + sum(map(len, record.numbers.values())))
    for layer, order in permutations.items():
        numbers = nodes_of(record.numbers[f"{layer}.weight"])
        source[numbers] = numbers[order]
    moved = copy.deepcopy(model)
    for parameter, numbers in record.numbers.items():
        for name, value in _own_tensors(moved, parameter.rpartition(".")[0]).items():
            value.copy_(value[torch.from_numpy(_order(nodes_of(numbers), source))])
            if name.startswith("weight") and value.shape[1] == len(record.readers[parameter]):
                value.copy_(value[:, torch.from_numpy(_order(nodes_of(record.readers[parameter]), source))])
    for parameter in record.readers.keys() - record.numbers.keys():  # batch normalisation
        for value in _own_tensors(moved, parameter.rpartition(".")[0]).values():
            value.copy_(value[torch.from_numpy(_order(nodes_of(record.readers[parameter]), source))])
    _check_same_function(model, moved, input_shape)
    return moved


def _own_tensors(model: nn.Module, layer: str) -> dict[str, Tensor]:
    """The parameters, masks and buffers of a layer with an entry per unit or channel."""
    return {name: value for name, value in model.get_submodule(layer).state_dict(keep_vars=True).items() if value.dim()}


def _order(places: np.ndarray, source: np.ndarray) -> np.ndarray:
    """For each entry of an axis, the entry that takes its place; `places` are the numbers of the units of the entries.

    The k-th entry of a unit goes where the k-th entry of another is: a flattened unit has an entry per position. Number
    0 stands for entries that stay.
    """
    order = places.argsort(kind="stable")
    starts = places[order].searchsorted(np.arange(len(source)))
    ranks = np.empty(len(places), dtype=np.int64)
    ranks[order] = np.arange(len(places)) - starts[places[order]]
    return order[np.minimum(starts[source[places]] + ranks, len(places) - 1)]


def _check_same_function(model: nn.Module, moved: nn.Module, input_shape: tuple[int, ...]) -> None:
    parameter = next(model.parameters())
    probe = torch.randn(8, *input_shape, generator=torch.Generator().manual_seed(0)).to(parameter)
    before, after = (network.eval()(probe) for network in (copy.deepcopy(model), moved))
    if not torch.allclose(before, after, rtol=_TOLERANCE, atol=_TOLERANCE * float(before.abs().max())):
        raise UserError(
            f"the units of {type(model).__name__} cannot be permuted like this: it would become another function; "
            "compare it as it is"
        )
