"""Layers with weights: linear, convolution and channel scale."""

import copy
import math
from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import Tensor, fx, nn

from Utils.connectivity.ops.call import Call, Pullback
from Utils.connectivity.ops.maxmin import product
from Utils.connectivity.ops.op import Linearised, Op
from Utils.connectivity.ops.rewrite import Rewrite
from Utils.connectivity.ops.unit_record import UnitRecord
from Utils.connectivity.ops.vertex_record import VertexRecord
from Utils.connectivity.ops.windows import conv_output_size, conv_windows, under_windows


class WeightLayer(Op):
    """A linear layer or a convolution: its outputs are new units."""

    needs_same_forward = True
    channel_axis: ClassVar[int]
    """Axis of the units in an output."""

    def nonzero(self, call: Call) -> Tensor:
        """A unit can be other than zero where a path arrives, and everywhere while its bias is kept."""
        return with_shift(call, self.flow(call)[0], self.channel_axis)

    def compact(self, rewrite: Rewrite) -> fx.Node:
        """The layer of the channels and units that stay, with a bias that adds the constants of the others."""
        layer: Any = rewrite.module
        channels, units = rewrite.inputs[0][0][self.channel_axis], rewrite.output[0][self.channel_axis]
        bias = None if layer.bias is None else layer.bias.detach()
        if rewrite.shift is not None and bool(rewrite.shift.any()):
            bias = rewrite.shift if bias is None else bias + rewrite.shift
        small = self.small(layer, channels, units, bias is not None)
        if bias is not None:
            small.bias = nn.Parameter(bias[units])
        return rewrite.add_module(small)

    def small(self, layer: Any, channels: Tensor, units: Tensor, has_bias: bool) -> Any:
        """A plain layer with the weights between channels and units, given as indices."""
        raise NotImplementedError


class LinearLayer(WeightLayer):
    """A dense layer on the last axis; all other axes are positions."""

    channel_axis = -1

    def flow(self, call: Call) -> tuple[Tensor, Pullback]:
        """The (max, min) product with the ranks of the weights."""
        (x,) = call.inputs
        _check_size(x.shape[-1], call.module.in_features, "features")
        weight = call.ranks("weight")
        columns = x.reshape(-1, x.shape[-1]).t()
        call.count_places(columns.shape[1])
        out = product(weight[None], columns[None])[0]

        def pullback(back: Tensor) -> list[Tensor]:
            back = back.reshape(-1, back.shape[-1]).t()
            _record_layer(call, product(back[None], columns.t()[None]), out, back)
            return [product(weight.t()[None], back[None])[0].t().reshape(x.shape)]

        return out.t().reshape(*x.shape[:-1], -1), pullback

    def units(self, call: Call, record: UnitRecord) -> Tensor:
        """New units, the same at each position; at least one of those that they read stays."""
        (x,) = call.inputs
        _check_size(x.shape[-1], call.module.in_features, "features")
        units = _new_units(call, record, x.reshape(-1, x.shape[-1]).t(), groups=1)
        return units.expand(*x.shape[:-1], -1)

    def vertices(self, call: Call, record: VertexRecord) -> Tensor:
        """A new vertex per unit, with a capacity of one per position."""
        (x,) = call.inputs
        _check_size(x.shape[-1], call.module.in_features, "features")
        columns = x.reshape(-1, x.shape[-1]).t()
        numbers = record.layer(call.parameter("weight"), call.module.weight.shape, columns, columns.shape[1])
        return numbers.expand(*x.shape[:-1], -1)

    def small(self, layer: Any, channels: Tensor, units: Tensor, has_bias: bool) -> nn.Linear:
        """The rows and columns of the matrix."""
        small = nn.Linear(len(channels), len(units), has_bias, dtype=layer.weight.dtype)
        small.weight = nn.Parameter(layer.weight.detach()[units][:, channels])
        return small


class Convolution(WeightLayer):
    """A convolution as a product with the patches under its kernel; per channel, the only patch is the whole map."""

    channel_axis = 1

    def flow(self, call: Call) -> tuple[Tensor, Pullback]:
        """The (max, min) product of the ranks of the kernels with those of the patches, by group."""
        (x,) = call.inputs
        conv: nn.Conv2d = call.module
        _check_size(x.shape[1] if x.dim() == 4 else 0, conv.in_channels, "channels")
        weight = call.ranks("weight")
        groups, taps = conv.groups, math.prod(conv.kernel_size)
        size = conv_output_size(conv, x.shape[2:])
        call.count_places(math.prod(size))
        patches, to_input = (
            _whole_map(x, taps) if call.per_channel else under_windows(x, conv_windows(conv, x.shape[2:]))
        )
        patches = patches.reshape(groups, -1, patches.shape[2])
        kernels = weight.reshape(groups, weight.shape[0] // groups, -1)
        out = product(kernels, patches)

        def pullback(back: Tensor) -> list[Tensor]:
            back = back[0].flatten(1)
            if call.per_channel:
                back = back.amax(1, keepdim=True)
            back = back.reshape(groups, -1, back.shape[1])
            _record_layer(call, product(back, patches.transpose(1, 2)), out, back)
            return [to_input(product(kernels.transpose(1, 2), back).reshape(x.shape[1], taps, -1))]

        return out.reshape(1, weight.shape[0], -1).expand(-1, -1, math.prod(size)).unflatten(2, size), pullback

    def units(self, call: Call, record: UnitRecord) -> Tensor:
        """New units, by group; a depthwise filter shares the fate of its channel."""
        (x,) = call.inputs
        conv: nn.Conv2d = call.module
        _check_size(x.shape[1] if x.dim() == 4 else 0, conv.in_channels, "channels")
        units = _new_units(call, record, x[0].flatten(1), conv.groups)
        return units[None, :, None, None].expand(1, -1, *conv_output_size(conv, x.shape[2:]))

    def vertices(self, call: Call, record: VertexRecord) -> Tensor:
        """A new vertex per channel, with a capacity of one per position."""
        (x,) = call.inputs
        conv: nn.Conv2d = call.module
        _check_size(x.shape[1] if x.dim() == 4 else 0, conv.in_channels, "channels")
        size = conv_output_size(conv, x.shape[2:])
        shape = conv.weight.shape
        numbers = record.layer(call.parameter("weight"), shape, x[0].flatten(1), math.prod(size), conv.groups)
        return numbers[None, :, None, None].expand(1, -1, *size)

    def small(self, layer: Any, channels: Tensor, units: Tensor, has_bias: bool) -> nn.Conv2d:
        """The kernels, group by group; groups of which nothing stays are gone."""
        per_group, filters = layer.in_channels // layer.groups, layer.out_channels // layer.groups
        groups, kernels = (units // filters).unique(), []
        for group in groups:
            own, read = units[units // filters == group], channels[channels // per_group == group] % per_group
            kernels.append(layer.weight.detach()[own][:, read])
        weight = torch.cat(kernels)
        small = nn.Conv2d(
            len(channels), len(units), layer.kernel_size, layer.stride, layer.padding, layer.dilation, len(groups),
            has_bias, layer.padding_mode, dtype=weight.dtype,
        )  # fmt: skip
        small.weight = nn.Parameter(weight)
        return small


class WeightFunction(Op):
    """A linear layer or a convolution called as a function: without a rule, because no layer owns its weights."""

    grows = True


class ChannelScale(Op):
    """A maskable identity: one edge per channel, of infinite rank if it is not prunable."""

    needs_same_forward = True

    def flow(self, call: Call) -> tuple[Tensor, Pullback]:
        """Carry each channel up to the rank of its scale."""
        (x,) = call.inputs
        if not (call.is_ranked("weight") or call.is_ranked("bias")):
            return x, lambda back: [back]
        scale = call.ranks("weight").reshape(-1, *[1] * (x.dim() - 2))
        out = torch.minimum(x, scale)

        def pullback(back: Tensor) -> list[Tensor]:
            for name, forward in (("weight", x), ("bias", out)):
                if call.is_ranked(name):
                    carried = torch.minimum(forward, back).transpose(0, 1).flatten(1).amax(1)
                    call.record.add(call.parameter(name), carried)
            return [torch.minimum(back, scale)]

        return out, pullback

    def vertices(self, call: Call, record: VertexRecord) -> Tensor:
        """Those of the input; behind a prunable scale, new ones that it can cut off."""
        (x,) = call.inputs
        return record.scale(call.parameter("weight"), x) if call.is_ranked("weight") else x


class BatchNorm(ChannelScale):
    """Batch normalisation: a scale per channel, by running statistics that do not depend on the input."""

    linearised = Linearised.SCALE

    def nonzero(self, call: Call) -> Tensor:
        """A channel can be other than zero where a path arrives, and everywhere while its shift is kept."""
        return with_shift(call, self.flow(call)[0], 1)

    def compact(self, rewrite: Rewrite) -> fx.Node:
        """The normalisation of the channels that stay."""
        small: Any = copy.deepcopy(rewrite.module)
        channels = rewrite.output[0][1]
        for name, value in (*small.named_parameters(), *small.named_buffers()):
            if value.dim():
                own = value.detach()[channels]
                setattr(small, name, nn.Parameter(own) if isinstance(value, nn.Parameter) else own)
        small.num_features = len(channels)
        return rewrite.add_module(small)

    def units(self, call: Call, record: UnitRecord) -> Tensor:
        """The same units, to which the shifts of their channels are added."""
        if getattr(call.module, "bias", None) is not None:
            record.read(call.parameter("bias"), call.inputs[0].transpose(0, 1).flatten(1))
        return super().units(call, record)


def with_shift(call: Call, ranks: Tensor, axis: int) -> Tensor:
    """Ranks, and where they are lower those of the layer's bias or shift along an axis, if it has one."""
    if getattr(call.module, "bias", None) is None:
        return ranks
    shape = [1] * ranks.dim()
    shape[axis] = -1
    return torch.maximum(ranks, call.ranks("bias").reshape(shape))


def _new_units(call: Call, record: UnitRecord, entries: Tensor, groups: int) -> Tensor:
    """Numbers (units,) of a layer that reads entries (channels, positions) in groups; 0 where all carry nothing.

    The positions of a channel share weights, so units that meet in a channel are removed together.
    """
    channels = entries.amax(1)
    record.tie(entries, channels[:, None])
    record.read(call.parameter("weight"), entries)
    channels = channels.reshape(groups, -1)
    units = record.units(call.parameter("weight"), len(call.module.weight), entries.device).reshape(groups, -1)
    if groups > 1 and channels.shape[1] == 1:
        record.read_depthwise(units, channels)
        record.keep_one(f"units of {call.layer}", units.flatten())
    else:
        for filters, sources in zip(units, channels, strict=True):
            record.keep_one(f"units of {call.layer}", filters)
            record.keep_one(f"inputs of {call.layer}", sources)
    return (units * channels.any(1, keepdim=True)).flatten()


def _check_size(actual: int, expected: int, what: str) -> None:
    """Raise `RuntimeError`, as the layer would; the (max, min) product might not notice."""
    if actual != expected:
        raise RuntimeError(f"it takes {expected} {what}, not {actual}")


def _whole_map(x: Tensor, taps: int) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
    """The maximum of each channel's map as the only window under every tap, and the pullback to the input."""
    patches = x.flatten(2).amax(2)[0, :, None, None].expand(-1, taps, 1)
    return patches, lambda ranks: ranks.amax(1)[None, :, :, None].expand(x.shape)


def _record_layer(call: Call, carried: Tensor, out: Tensor, back: Tensor) -> None:
    if call.is_ranked("weight"):
        call.record.add(call.parameter("weight"), carried)
    if call.is_ranked("bias"):
        # A bias starts no path: it is effective up to the same threshold as its unit.
        call.record.add(call.parameter("bias"), torch.minimum(out, back).amax(-1))
