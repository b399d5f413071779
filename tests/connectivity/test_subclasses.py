"""Subclasses of known layers: understood if they compute the same, otherwise refused by name or traced into."""

from collections import OrderedDict
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from conftest import make_batches
from networks import random_masks
from torch import Tensor, nn

from Layers import MaskedBatchNorm2d, MaskedConv2d, MaskedIdentity, MaskedLinear
from Pruners import make_pruner
from Utils.connectivity import effective_masks
from Utils.connectivity.unit_groups import unit_groups
from Utils.errors import UserError

SHAPE = (2, 4, 4)


class NamedConv(MaskedConv2d):
    """Inherits its forward method."""


class RepeatedConv(MaskedConv2d):
    def forward(self, input: Tensor) -> Tensor:
        """Repeat what the base class does."""
        return self._conv_forward(input, self.masked("weight"), self.masked("bias"))


class RepeatedLinear(MaskedLinear):
    def forward(self, input: Tensor) -> Tensor:
        return F.linear(input, self.masked("weight"), self.masked("bias"))


class ScaledConv(MaskedConv2d):
    def forward(self, input: Tensor) -> Tensor:
        return self._conv_forward(input, self.masked("weight") * 2, self.masked("bias"))


class SharpConv(MaskedConv2d):
    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        return super()._conv_forward(input, weight.square(), bias)


class UnmaskedConv(MaskedConv2d):
    forward = nn.Conv2d.forward


class PlainScaledConv(nn.Conv2d):
    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input) * 2


class BiasFreeLinear(MaskedLinear):
    def forward(self, input: Tensor) -> Tensor:
        return F.linear(input, self.masked("weight"))


class SquareNorm(nn.BatchNorm2d):
    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input).square()


class ShiftedSkip(MaskedIdentity):
    def forward(self, input: Tensor) -> Tensor:
        return input.flip(1)


class Doubled(nn.ReLU):
    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input) * 2


def network(
    conv: Callable = MaskedConv2d, linear: Callable = MaskedLinear, norm: Callable = MaskedBatchNorm2d,
    skip: Callable = MaskedIdentity, activation: Callable = nn.ReLU,
) -> nn.Module:  # fmt: skip
    torch.manual_seed(0)
    return nn.Sequential(OrderedDict(
        conv=conv(2, 3, 3), norm=norm(3), skip=skip(3), relu=activation(), flat=nn.Flatten(), head=linear(12, 3),
        last=MaskedLinear(3, 2),
    ))  # fmt: skip


def layers_of(model: nn.Module) -> list[tuple[str, ...]]:
    """The layers of each unit group."""
    return [tuple(group.places) for group in unit_groups(model, SHAPE).groups.values()]


@pytest.mark.parametrize(
    "parts", [{"conv": NamedConv}, {"conv": RepeatedConv}, {"linear": RepeatedLinear}], ids=lambda parts: str(parts)
)
def test_a_subclass_that_computes_the_same_is_like_its_base(parts):
    model, like = network(**parts), network()
    masks = random_masks(model, 0.3, 1)
    for kind in ("exact", "graph"):
        found, expected = (effective_masks(each, SHAPE, masks, kind) for each in (model, like))
        assert found.keys() == expected.keys()
        assert all(torch.equal(found[name], mask) for name, mask in expected.items())
    found, expected = (make_pruner("synflow").score(each, make_batches(SHAPE, 1, 2), 0.5) for each in (model, like))
    assert all(torch.equal(found[name], score) for name, score in expected.items())
    assert layers_of(model) == layers_of(like) == [("conv.weight",), ("head.weight",)]


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"conv": ScaledConv}, r"ScaledConv \(conv\), whose forward differs from that of MaskedConv2d"),
        ({"conv": SharpConv}, r"SharpConv \(conv\), whose _conv_forward differs from that of MaskedConv2d"),
        ({"conv": UnmaskedConv}, r"UnmaskedConv \(conv\), whose forward differs from that of MaskedConv2d"),
        ({"conv": PlainScaledConv}, r"PlainScaledConv \(conv\), whose forward differs from that of Conv2d"),
        ({"linear": BiasFreeLinear}, r"BiasFreeLinear \(head\), whose forward differs from that of MaskedLinear"),
        ({"norm": SquareNorm}, r"SquareNorm \(norm\), whose forward differs from that of _BatchNorm"),
        ({"skip": ShiftedSkip}, r"ShiftedSkip \(skip\), whose forward differs from that of MaskedIdentity"),
    ],
)  # fmt: skip
def test_a_layer_that_computes_something_else_is_refused_by_name(parts, message):
    model = network(**parts)
    for ask in (
        lambda: effective_masks(model, SHAPE),
        lambda: unit_groups(model, SHAPE),
        lambda: make_pruner("synflow").score(model, make_batches(SHAPE, 1, 2), 0.5),
    ):
        with pytest.raises(UserError, match=rf"^no rule says how {message}, connects units"):
            ask()


def test_torch_fx_traces_into_other_subclasses():
    model, like = network(activation=Doubled), network()
    masks = random_masks(model, 0.3, 1)
    found, expected = (effective_masks(each, SHAPE, masks) for each in (model, like))
    assert all(torch.equal(found[name], mask) for name, mask in expected.items())
    assert layers_of(model) == layers_of(like)
