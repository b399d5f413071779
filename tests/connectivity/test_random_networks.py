"""Random networks of convolutions, pools, sums, gates and slices: paths, SynFlow's conservation, unit groups."""

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import path_counts, random_masks
from torch import Tensor, nn

from Layers import MaskedBatchNorm2d, MaskedConv2d, MaskedIdentity, MaskedLinear, prunable
from Pruners.criteria.linearised import linearise
from Pruners.criteria.synflow import flow_scores
from Utils.connectivity import effective_masks
from Utils.connectivity.unit_groups import unit_groups

SHAPE = (2, 5, 6)
LEVEL = 1e-9
"""Inputs small enough that no gate saturates behind several layers."""


class Sum(nn.Module):
    """Adds what two branches make of the same input, or a branch to its input."""

    def __init__(self, left: nn.Module, right: nn.Module) -> None:
        super().__init__()
        self.left, self.right = left, right
        self.left_end, self.right_end = nn.Identity(), nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.left_end(self.left(x)) + self.right_end(self.right(x))


class Gate(Sum):
    """Multiplies a branch by a sigmoid, or a rectifier, of another one."""

    def __init__(self, left: nn.Module, right: nn.Module, activation: nn.Module) -> None:
        super().__init__(left, right)
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        return self.left_end(self.left(x)) * self.activation(self.right_end(self.right(x)))


class Concatenation(Sum):
    """Joins the channels of two branches."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.left(x), self.right(x)], 1)


class Slice(nn.Module):
    """Leaves out the first channel, or turns the channels round, or leaves out a row."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind

    def forward(self, x: Tensor) -> Tensor:
        if self.kind == "channels":
            return x[:, 1:]
        return x.flip(1) if self.kind == "flip" else x[:, :, 1:]


def same_size(inputs: int, outputs: int) -> nn.Module:
    """A convolution that keeps the size of a map."""
    return MaskedConv2d(inputs, outputs, 3, padding=1)


@st.composite
def convolutions(draw: st.DrawFn, channels: int, size: tuple[int, int]) -> nn.Module:
    kernel = tuple(draw(st.integers(1, min(3, length))) for length in size)
    dilation = tuple(
        draw(st.sampled_from([1, 2])) if 2 * (reach - 1) < length else 1
        for reach, length in zip(kernel, size, strict=True)
    )
    # Reflection and circular padding must be smaller than the map.
    padding = tuple(draw(st.integers(0, min(2, length - 1))) for length in size)
    mode = draw(st.sampled_from(["zeros", "reflect", "replicate", "circular"]))
    groups = draw(st.sampled_from([1, channels]))
    outputs = channels * draw(st.integers(1, 2)) if groups > 1 else draw(st.integers(1, 4))
    stride = draw(st.tuples(st.integers(1, 2), st.integers(1, 2)))
    return MaskedConv2d(
        channels, outputs, kernel, stride=stride, dilation=dilation, padding=padding, groups=groups, padding_mode=mode
    )  # fmt: skip


@st.composite
def pools(draw: st.DrawFn, size: tuple[int, int]) -> nn.Module:
    if draw(st.booleans()):
        return nn.AdaptiveAvgPool2d(tuple(draw(st.integers(1, length)) for length in size))
    kernel = draw(st.integers(1, min(3, *size)))
    stride, padding = draw(st.integers(1, 2)), draw(st.integers(0, kernel // 2))
    if draw(st.booleans()):
        return nn.MaxPool2d(kernel, stride, padding)
    return nn.AvgPool2d(kernel, stride, padding, ceil_mode=draw(st.booleans()))


@st.composite
def joints(draw: st.DrawFn, channels: int) -> nn.Module:
    """Two branches that are joined."""
    kind = draw(st.sampled_from(["skip", "sum", "concatenation", "gate", "product"]))
    outputs = channels if kind in ("skip", "gate") else draw(st.integers(1, 3))
    left = nn.Identity() if kind in ("skip", "gate") else same_size(channels, outputs)
    right = same_size(channels, outputs)
    if kind in ("gate", "product"):
        return Gate(left, right, nn.Sigmoid() if kind == "gate" else nn.ReLU())
    return (Concatenation if kind == "concatenation" else Sum)(left, right)


@st.composite
def networks(draw: st.DrawFn) -> nn.Sequential:
    """A convolution, up to four random steps, and a dense layer."""
    steps: list[nn.Module] = [same_size(SHAPE[0], draw(st.integers(1, 3)))]
    for _ in range(draw(st.integers(1, 4))):
        channels, *size = shape_after(steps)
        step = draw(st.one_of(
            convolutions(channels, tuple(size)), pools(tuple(size)), joints(channels), joints(channels),
            st.sampled_from(["channels", "flip", "rows"]).map(Slice), st.just(channels).map(MaskedBatchNorm2d),
            st.just(channels).map(MaskedIdentity), st.sampled_from([nn.ReLU, nn.Tanh, nn.Dropout]).map(lambda k: k()),
        ))  # fmt: skip
        is_empty = isinstance(step, Slice) and (channels if step.kind == "channels" else size[0]) == 1
        if not is_empty:
            steps.append(step)
    features = torch.Size(shape_after(steps)).numel()
    for step in steps:
        if isinstance(step, MaskedBatchNorm2d | MaskedIdentity) and draw(st.booleans()):
            step.add_mask("weight")
    return nn.Sequential(*steps, nn.Flatten(), MaskedLinear(features, 2)).eval()


@torch.no_grad()
def shape_after(steps: list[nn.Module]) -> tuple[int, ...]:
    return tuple(nn.Sequential(*steps).eval()(torch.zeros(2, *SHAPE)).shape[1:])


some_masks = {"density": st.sampled_from([0.15, 0.3, 0.5, 0.8]), "seed": st.integers(0, 10**6)}


@settings(max_examples=200, deadline=None)
@given(model=networks(), **some_masks)
def test_effective_masks_equal_a_sum_over_paths(model, density, seed):
    masks = random_masks(model, density, seed)
    effective, expected = effective_masks(model, SHAPE, masks), path_counts(model, masks, SHAPE, LEVEL)
    assert effective.keys() == expected.keys()
    for name, mask in expected.items():
        assert torch.equal(effective[name], mask), name


@settings(max_examples=60, deadline=None)
@given(model=networks(), **some_masks)
def test_synflow_is_conserved(model, density, seed):
    """All flow goes through the first and through the last layer, and through each step without another branch."""
    random_masks(model, density, seed).install(model)
    for weight, _ in prunable(model).values():
        weight.requires_grad_()
    linearise(model)
    totals = {name: score.sum().item() for name, score in flow_scores(model, SHAPE).items()}
    (flow,) = (total for name, total in totals.items() if name.startswith(f"{len(model) - 1}."))
    single = [name for name in totals if name.count(".") == 1]
    assert [totals[name] for name in single] == pytest.approx([flow] * len(single), rel=1e-9)
    for total in totals.values():
        assert 0 <= total <= flow * (1 + 1e-9)


@settings(max_examples=60, deadline=None)
@given(model=networks())
def test_units_of_a_group_are_the_same_channel_of_each_sum(model):
    """Biases of layers keep a unit other than zero unless it is removed, so a channel of zeros is a removed unit."""
    groups = unit_groups(model)
    names = [name for group in groups for name in group]
    assert len(names) == len(set(names)) and str(len(model) - 1) not in names
    for parameter in model.parameters():
        nn.init.uniform_(parameter, 0.1, 0.2)
    for module in model:
        if isinstance(module, MaskedBatchNorm2d):
            nn.init.zeros_(module.bias)
    for group in groups:
        counts = {len(model.get_parameter(f"{name}.weight")) for name in group}
        assert len(counts) == 1
        for unit in range(counts.pop()):
            check_removal(model, group, unit)


@torch.no_grad()
def check_removal(model: nn.Module, group: tuple[str, ...], unit: int) -> None:
    cut = copy.deepcopy(model)
    for name in group:
        layer = cut.get_submodule(name)
        layer.weight[unit], layer.bias[unit] = 0.0, 0.0
    zeros: dict[nn.Module, list[bool]] = {}

    def watch(module: nn.Module, inputs: tuple, output: Tensor) -> None:
        zeros[module] = (output.amax((0, *range(2, output.dim()))) == 0).tolist()

    for module in cut.modules():
        if not list(module.children()):
            module.register_forward_hook(watch)
    output = cut(torch.rand(2, *SHAPE))
    assert (output > 0).all(), "outputs stay"
    for module in cut.modules():
        if isinstance(module, Sum) and not isinstance(module, Concatenation):
            assert zeros[module.left_end] == zeros[module.right_end], "what is added is removed together"
            assert not isinstance(module, Gate) or not any(zeros[module.left_end]), "what is multiplied stays"
    for name in group:
        assert zeros[cut.get_submodule(name)] == [index == unit for index in range(len(zeros[cut.get_submodule(name)]))]
