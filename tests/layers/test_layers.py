"""Masked layers compute what plain layers compute with zeros in their weights, and what is pruned stays pruned."""

import copy

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from Layers import (
    MaskedBatchNorm1d,
    MaskedBatchNorm2d,
    MaskedConv2d,
    MaskedIdentity,
    MaskedLinear,
    Masks,
    add_masks,
    prunable,
)
from Layers.forms.baked import Baked


@settings(max_examples=50, deadline=None)
@given(
    groups=st.sampled_from([1, 2, 4]),
    stride=st.integers(1, 3),
    dilation=st.integers(1, 2),
    padding=st.sampled_from([0, 1, (2, 1), "same", "valid"]),
    mode=st.sampled_from(["zeros", "reflect", "replicate", "circular"]),
    kernel=st.sampled_from([1, 3, (2, 3)]),
    bias=st.booleans(),
)
def test_convolution_is_the_plain_one_with_zeros(groups, stride, dilation, padding, mode, kernel, bias):
    stride = 1 if padding == "same" else stride
    options = {"groups": groups, "stride": stride, "dilation": dilation, "padding": padding, "padding_mode": mode}
    masked = MaskedConv2d(4, 8, kernel, bias=bias, **options)
    plain = nn.Conv2d(4, 8, kernel, bias=bias, **options)
    masked.weight_mask.copy_(torch.rand(masked.weight.shape) < 0.5)
    with torch.no_grad():
        plain.weight.copy_(masked.weight * masked.weight_mask)
        if bias:
            plain.bias.copy_(masked.bias)
    x = torch.randn(2, 4, 9, 8)
    assert torch.equal(masked(x), plain(x))


def test_linear_masks_weight_and_bias():
    layer = MaskedLinear(5, 4)
    add_masks(layer, "bias")
    layer.weight_mask[1] = False
    layer.bias_mask[2] = False
    x = torch.randn(3, 5)
    expected = F.linear(x, layer.weight, layer.bias)
    expected[:, 1] = layer.bias[1]
    expected[:, 2] -= layer.bias[2]
    torch.testing.assert_close(layer(x), expected)


@pytest.mark.parametrize(("masked", "plain", "shape"), [
    (MaskedBatchNorm1d, nn.BatchNorm1d, (6, 3)), (MaskedBatchNorm2d, nn.BatchNorm2d, (6, 3, 4, 4)),
])  # fmt: skip
@pytest.mark.parametrize("options", [{}, {"momentum": None}, {"track_running_stats": False}, {"affine": False}])
def test_batch_norm_is_the_plain_one(masked, plain, shape, options):
    ours, theirs = masked(3, **options), plain(3, **options)
    for _ in range(3):
        x = torch.randn(shape) * 3 + 1
        assert torch.equal(ours(x), theirs(x))
    ours.eval(), theirs.eval()
    assert torch.equal(ours(x), theirs(x))
    assert {name: v.tolist() for name, v in ours.state_dict().items()} == {
        name: v.tolist() for name, v in theirs.state_dict().items()
    }


def test_batch_norm_with_masks():
    norm = MaskedBatchNorm2d(3).eval()
    add_masks(norm, "batchnorm")
    with torch.no_grad():
        norm.bias.fill_(2.0)
    norm.weight_mask[0] = False
    norm.bias_mask[1] = False
    x = torch.randn(2, 3, 2, 2)
    out = norm(x)
    assert torch.equal(out[:, 0], torch.full((2, 2, 2), 2.0))
    torch.testing.assert_close(out[:, 1], x[:, 1] / (1 + 1e-5) ** 0.5)
    torch.testing.assert_close(out[:, 2], x[:, 2] / (1 + 1e-5) ** 0.5 + 2)


def test_identity_opens_and_closes_channels():
    skip = MaskedIdentity(2)
    x = torch.randn(3, 2, 4, 4)
    assert torch.equal(skip(x), x) and not prunable(skip)
    add_masks(skip, "residual")
    skip.weight_mask[1] = False
    assert torch.equal(skip(x)[:, 0], x[:, 0]) and not skip(x)[:, 1].any()
    assert not list(skip.parameters())


@pytest.mark.parametrize("optimizer", [
    lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.1),
    lambda p: torch.optim.Adam(p, lr=0.1, weight_decay=0.1),
    lambda p: torch.optim.RMSprop(p, lr=0.1, momentum=0.9, weight_decay=0.1),
])  # fmt: skip
def test_neither_momentum_nor_decay_revives_a_pruned_weight(optimizer):
    torch.manual_seed(0)
    model = nn.Sequential(MaskedLinear(6, 5), nn.ReLU(), MaskedLinear(5, 3))
    x, y = torch.randn(20, 6), torch.randint(0, 3, (20,))
    steps = optimizer(model.parameters())
    for _ in range(5):  # momentum has built up before the weights are pruned
        steps.zero_grad()
        F.cross_entropy(model(x), y).backward()
        steps.step()
    model[0].weight_mask[:, :3] = False
    model[2].weight_mask[0] = False
    for _ in range(20):
        steps.zero_grad()
        F.cross_entropy(model(x), y).backward()
        assert not model[0].weight.grad[:, :3].any() and not model[2].weight.grad[0].any()
        steps.step()
        assert torch.equal(model(x), model(x * torch.tensor([0, 0, 0, 1, 1, 1])))
        assert torch.equal(model(x)[:, 0], model[2].bias[0].expand(20))


def test_a_mask_edited_in_place_acts_at_once():
    layer = MaskedLinear(3, 2, bias=False)
    x = torch.ones(1, 3)
    layer(x)
    layer.weight_mask.zero_()
    assert not layer(x).any()
    layer.weight_mask[0, 0] = True
    assert layer(x)[0, 0] == layer.weight[0, 0]
    layer.load_state_dict({"weight": layer.weight, "weight_mask": torch.zeros(2, 3, dtype=torch.bool)})
    assert not layer(x).any()
    layer.weight_mask = torch.ones(2, 3, dtype=torch.bool)
    assert torch.equal(layer(x), F.linear(x, layer.weight))
    layer.double().weight_mask[1] = False
    assert layer(x.double()).dtype == torch.float64 and layer(x.double())[0, 1] == 0


def test_a_mask_that_is_replaced_acts_at_once():
    layer = MaskedLinear(300, 300, bias=False)
    x = torch.randn(2, 300)
    for _ in range(30):
        layer.weight_mask = torch.zeros(300, 300, dtype=torch.bool)
        assert not layer(x).any()
        layer.weight_mask = torch.ones(300, 300, dtype=torch.bool)
        layer.weight_mask = torch.ones(300, 300, dtype=torch.bool)
        assert layer(x).all()


def test_inference_mode_and_training_mix():
    layer = MaskedLinear(3, 2)
    with torch.inference_mode():
        layer(torch.ones(1, 3))
        inside = MaskedLinear(3, 2)
        inside(torch.ones(1, 3))
    layer(torch.ones(1, 3)).sum().backward()
    assert layer.weight.grad is not None


def test_a_copy_is_independent():
    layer = MaskedLinear(3, 2)
    layer(torch.ones(1, 3))
    twin = copy.deepcopy(layer)
    twin.weight_mask.zero_()
    assert layer.weight_mask.all() and torch.equal(twin(torch.ones(1, 3))[0], twin.bias)


def test_second_derivatives_pass_through_masks():
    layer = MaskedLinear(3, 1, bias=False)
    layer.weight_mask[0, 1] = False
    (first,) = torch.autograd.grad(layer(torch.ones(1, 3)).pow(3).sum(), layer.weight, create_graph=True)
    (second,) = torch.autograd.grad(first.sum(), layer.weight)
    assert second[0, 1] == 0 and second[0, 0] != 0


def test_prunable_names_and_order():
    model = nn.Sequential(MaskedConv2d(1, 2, 1), nn.Sequential(MaskedBatchNorm2d(2), MaskedIdentity(2)), nn.Flatten())
    model.append(MaskedLinear(2, 2, bias=False))
    assert list(prunable(model)) == ["0.weight", "3.weight"]
    for kind in ("bias", "batchnorm", "residual"):
        add_masks(model, kind)
    expected = ["0.weight", "0.bias", "1.0.weight", "1.0.bias", "1.1.weight", "3.weight"]
    assert list(prunable(model)) == expected
    assert list(prunable(MaskedLinear(2, 2))) == ["weight"]
    prunable(model)["0.weight"][1].zero_()
    assert not Masks.of(model)["0.weight"].any()


def test_fixed_masks_compute_the_same_and_leave_pruned_entries_as_they_were():
    torch.manual_seed(0)
    model = nn.Sequential(MaskedConv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), MaskedLinear(64, 5))
    add_masks(model, "bias")
    add_masks(model, "batchnorm")
    for _, mask in prunable(model).values():
        mask.copy_(torch.rand(mask.shape) < 0.5)
    before = {name: value.detach().clone() for name, (value, _) in prunable(model).items()}
    x = torch.randn(7, 3, 6, 6)
    expected = model(x)
    gradients = torch.autograd.grad(expected.square().sum(), list(model.parameters()))
    form = Baked()
    with form.holding(model):
        found = model(x)
        found.square().sum().backward()
        form.after_backward()
        assert torch.equal(found, expected)
        for parameter, gradient in zip(model.parameters(), gradients, strict=True):
            assert torch.equal(parameter.grad, gradient)
        assert all(not value[~mask].any() for value, mask in prunable(model).values())
        with torch.no_grad():
            for value, mask in prunable(model).values():
                value.add_(mask)
    for name, (value, mask) in prunable(model).items():
        assert torch.equal(value, torch.where(mask, before[name] + 1, before[name]))


def test_a_mask_that_is_changed_while_fixed_is_noticed():
    layer = MaskedLinear(5, 4)
    layer.weight_mask[0] = False
    with pytest.raises(RuntimeError, match="a mask was changed while masks were fixed"), Baked().holding(layer):
        layer.weight_mask[1] = False
    assert not layer._is_fixed
