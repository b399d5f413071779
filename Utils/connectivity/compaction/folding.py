"""Folding: what channels of a constant value add to the units of a layer, as far as it is the same everywhere."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_UNIFORM = 1e-13
"""Relative difference of positions up to which a contribution is the same everywhere: rounding in double precision."""

_MOST_VALUES = 1 << 24
"""Contributions that are held at once."""


def fold(layer: Any, value: Tensor, channels: Tensor, units: Tensor) -> tuple[Tensor, Tensor]:
    """What constant channels add to the units of a Linear or Conv2d layer.

    `value` is the input of the layer (1, channels, rows, columns), or with channels as the last axis; `channels` and
    `units` are indices. Returns the sum (all units) of the contributions of those channels that add the same at every
    position, and the indices of the others: zero padding shows their borders.
    """
    is_map = isinstance(layer, nn.Conv2d)
    values = value[0] if is_map else value.reshape(-1, value.shape[-1]).t()
    channels = channels[(values[channels].flatten(1) != 0).any(1)]
    total = value.new_zeros(len(layer.weight))
    others: list[Tensor] = []
    if not len(channels):
        return total, channels
    size = max(1, len(units) * values[0].numel())
    for some in channels.split(max(1, _MOST_VALUES // size)):
        added = _of_maps(layer, values[some], some) if is_map else _of_columns(layer, values[some], some)
        kept = torch.zeros(added.shape[1], dtype=torch.bool)
        kept[units] = True
        low, high = added[:, kept].amin(2), added[:, kept].amax(2)
        is_uniform = (high - low <= _UNIFORM * (1 + added[:, kept].abs().amax(2))).all(1)
        total += added[is_uniform, :, 0].sum(0)
        others.append(some[~is_uniform])
    return total, torch.cat(others)


def _of_columns(layer: Any, values: Tensor, channels: Tensor) -> Tensor:
    """Contributions (channels, units, positions) of inputs (channels, positions) of a Linear layer."""
    return layer.weight[:, channels].t()[:, :, None] * values[:, None]


def _of_maps(layer: Any, maps: Tensor, channels: Tensor) -> Tensor:
    """Contributions (channels, units, positions) of maps (channels, rows, columns); 0 to units of other groups."""
    per_group, filters = layer.in_channels // layer.groups, layer.out_channels // layer.groups
    group = channels // per_group
    units = group[:, None] * filters + torch.arange(filters)
    kernels = layer.weight[units, (channels % per_group)[:, None]]
    padding = layer.padding
    if layer.padding_mode != "zeros":
        maps, padding = F.pad(maps[None], layer._reversed_padding_repeated_twice, layer.padding_mode)[0], 0
    out = F.conv2d(
        maps[None], kernels.flatten(0, 1)[:, None], None, layer.stride, padding, layer.dilation, len(channels)
    )[0].unflatten(0, (len(channels), filters)).flatten(2)  # fmt: skip
    added = maps.new_zeros(len(channels), layer.out_channels, out.shape[2])
    return added.scatter_(1, units[:, :, None].expand(out.shape), out)
