"""Architectures have the published sizes, start from the published distribution, and build the same every time."""

import pytest
import settings
import torch
from conftest import make_batches
from torch import nn

from Layers import MaskedBatchNorm1d, MaskedConv2d, MaskedLinear, prunable
from Models import ARCHITECTURES, build


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_number_of_prunable_weights(name):
    total, layers = settings.PRUNABLE[name]
    sizes = [weight.numel() for weight, _ in prunable(build(name)).values()]
    assert sizes == layers and sum(sizes) == total


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_initial_weights_are_a_truncated_normal_of_variance_two_over_fan_average(name):
    for layer in build(name, generator=torch.Generator().manual_seed(0)).modules():
        if isinstance(layer, MaskedLinear | MaskedConv2d):
            area = layer.weight[0, 0].numel()
            fan_average = area * (layer.weight.shape[0] + layer.weight.shape[1]) / 2
            std = (2 / fan_average) ** 0.5
            assert layer.weight.std().item() == pytest.approx(std, rel=4 / (2 * layer.weight.numel()) ** 0.5)
            assert layer.weight.abs().max() <= 2 * std / 0.87962566
            assert not layer.bias.any()


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_same_generator_same_weights_and_nothing_else_moves(name):
    before = torch.random.get_rng_state()
    one, two, other = (build(name, generator=torch.Generator().manual_seed(seed)) for seed in (3, 3, 4))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), two.state_dict().values(), strict=True))
    assert not torch.equal(next(iter(one.parameters())), next(iter(other.parameters())))


@pytest.mark.parametrize("name", ARCHITECTURES)
@pytest.mark.parametrize("shape", [None, (1, 28, 28), (3, 32, 32), (2, 20, 36)])
def test_forward_of_any_input_size(name, shape):
    model = build(name, shape, classes=7)
    (x, _), *_ = make_batches(shape or ARCHITECTURES[name].input_shape)
    assert model(x).shape == (16, 7)


def test_layers_of_lenet300100():
    kinds = [type(layer) for layer in build("lenet300100")]
    dense = [MaskedLinear, MaskedBatchNorm1d, nn.ReLU]
    assert kinds == [nn.Flatten, *dense, *dense, MaskedLinear, MaskedBatchNorm1d]
    norm = build("lenet300100")[2]
    assert norm.eps == 1e-3 and norm.momentum == pytest.approx(0.01)


def test_batchnorm_of_the_batch_at_test_time():
    x = torch.randn(8, 1, 28, 28) * 5
    for mode, depends_on_batch in (("running", False), ("batch", True)):
        model = build("lenet300100", batchnorm=mode).eval()
        assert torch.allclose(model(x)[:4], model(x[:4]), atol=1e-4) != depends_on_batch


def test_impossible_models():
    with pytest.raises(ValueError, match="unknown architecture 'lenet'; there are: lenet300100, lenet5"):
        build("lenet")
    with pytest.raises(ValueError, match="at least 16 x 16, not 12 x 32"):
        build("lenet5", (3, 12, 32))
