"""Neural tangent kernel against explicit Jacobians and finite differences."""

import copy
import math

import pytest
import torch
from torch import nn

from Layers import MaskedConv2d, MaskedLinear, prunable
from Models import build
from Utils.connectivity.statistics.ntk import kernel, ntk


def convolutional(norm: bool = True) -> nn.Module:
    layers = [MaskedConv2d(1, 3, 2), *([nn.BatchNorm2d(3)] if norm else []), nn.Tanh(), nn.Dropout(0.5), nn.Flatten()]
    model = nn.Sequential(*layers, MaskedLinear(12, 4))
    with torch.no_grad():
        for _, mask in prunable(model).values():
            mask.copy_(torch.rand(mask.shape) < 0.7)
    return model


def by_loops(model: nn.Module, images: torch.Tensor) -> torch.Tensor:
    """The kernel from one backward pass per image through a network with batch statistics that are written out."""
    model = copy.deepcopy(model).double().eval()
    images = images.double()
    if isinstance(model[1], nn.BatchNorm2d):
        before = model[0](images).detach()
        model[1].running_mean, model[1].running_var = before.mean((0, 2, 3)), before.var((0, 2, 3))
    rows = []
    for image in images:
        model.zero_grad()
        model(image[None]).sum().backward()
        rows.append(torch.cat([weight.grad[mask] for weight, mask in prunable(model).values()]))
    return torch.stack(rows) @ torch.stack(rows).T


@pytest.mark.parametrize("norm", [True, False])
@pytest.mark.parametrize("entries", [1, 300, 1 << 20])
def test_the_kernel_is_the_product_of_gradients(norm, entries):
    """Whatever number of examples is in memory."""
    model, images = convolutional(norm), torch.randn(5, 1, 3, 3)
    torch.testing.assert_close(kernel(model, images, entries), by_loops(model, images))


@pytest.mark.parametrize("sample", range(20))
def test_a_constant_unit_passes_no_gradient(sample):
    """A unit whose inputs are the same for all images counts as if it were pruned, however its sums are rounded."""
    generator = torch.Generator().manual_seed(sample)
    model = nn.Sequential(MaskedLinear(9, 3), nn.BatchNorm1d(3), nn.ReLU(), MaskedLinear(3, 2))
    images = torch.randn(6, 9, generator=generator)
    images[:, :5] = torch.randn(5, generator=generator)
    with torch.no_grad():
        model[0].weight.copy_(torch.randn(3, 9, generator=generator))
        model[0].weight_mask[1, 5:] = False
        pruned = copy.deepcopy(model)
        pruned[0].weight_mask[1] = False
        pruned[3].weight_mask[:, 1] = False
    torch.testing.assert_close(kernel(model, images), kernel(pruned, images))


def test_trace_and_condition():
    model, images = convolutional(), torch.randn(4, 1, 3, 3)
    expected = by_loops(model, images)
    trace, condition = ntk(model, images)
    assert trace == pytest.approx(float(expected.trace()))
    assert condition == pytest.approx(float(torch.linalg.cond(expected)))


def test_finite_differences():
    """Moving all weights along the gradient of one image changes the outputs of the others by the kernel."""
    model, images = convolutional(norm=False).double().eval(), torch.randn(3, 1, 3, 3, dtype=torch.float64)
    model(images[:1]).sum().backward()
    steps = []
    for sign in (1, -1):
        moved = copy.deepcopy(model)
        with torch.no_grad():
            for (weight, _), (original, _) in zip(prunable(moved).values(), prunable(model).values(), strict=True):
                weight += sign * 1e-6 * original.grad
        steps.append(moved(images).sum(1))
    torch.testing.assert_close((steps[0] - steps[1]) / 2e-6, kernel(model, images)[0], rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("case", ["equal images", "few weights", "collapsed"])
def test_a_singular_kernel_has_an_infinite_condition(case):
    model, images = convolutional(), torch.randn(4, 1, 3, 3)
    if case == "equal images":
        images[1] = images[0]
    else:
        for name, (_, mask) in prunable(model).items():
            mask.zero_()
            if case == "few weights" and name == "0.weight":
                mask[0, 0, 0] = True
            if case == "few weights" and name != "0.weight":
                mask[0, 0] = True
    trace, condition = ntk(model, images)
    assert condition == math.inf and (trace == 0 if case == "collapsed" else trace > 0)


def test_one_image():
    assert ntk(convolutional(norm=False), torch.randn(1, 1, 3, 3)).condition == 1


@pytest.mark.parametrize("batchnorm", ["running", "batch"])
@pytest.mark.parametrize("training", [True, False])
def test_the_model_stays_the_same(batchnorm, training):
    model = build("lenet300100", batchnorm=batchnorm).train(training)
    model[1].weight.grad = torch.ones_like(model[1].weight)
    before, random = copy.deepcopy(model.state_dict()), torch.get_rng_state()
    assert ntk(model, torch.randn(3, 1, 28, 28, generator=torch.Generator())).trace > 0
    assert torch.equal(torch.get_rng_state(), random) and model.training is training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert bool((model[1].weight.grad == 1).all()) and all(p.grad is None for p in model[4].parameters())
    assert model[1].weight.dtype == torch.float32 and model[1].weight.requires_grad
