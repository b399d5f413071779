"""Initial kernels by name: golden constants, draws against PyTorch's generator, and what stays as it is."""

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import random_masks
from torch import Tensor, nn

from Layers import MaskedConv2d, MaskedLinear, Masks, add_masks, prunable
from Models import build
from Models.weight_inits import WEIGHT_INITS, reinitialise
from Utils.config import choices
from Utils.errors import UserError

NETWORKS = ("gem-miner/fc", "gem-miner/resnet20")

CONSTANTS = {
    784: 0.0505076, 100: 0.1414214, 27: 0.2721655, 144: 0.1178511, 288: 0.0833333, 576: 0.0589256, 64: 0.1767767,
}  # fmt: skip
"""Golden fact G6: the constant by fan_in, as in models that the sparse-network-analysis program saved."""

every_rule = pytest.mark.parametrize("name", WEIGHT_INITS)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def kernels(model: nn.Module) -> dict[str, Tensor]:
    """Copies of all kernels with a mask."""
    return {name: weight.detach().clone() for name, (weight, _) in prunable(model).items() if weight.dim() > 1}


def reinitialised(name: str, architecture: str = "lenet5", seed: int = 0, scale: float = 1.0) -> dict[str, Tensor]:
    """The kernels of a network, always of the same initial weights, after one rule."""
    model = build(architecture, generator=seeded(99))
    reinitialise(model, name, seeded(seed), scale)
    return kernels(model)


def test_the_choices_are_the_rules():
    assert tuple(WEIGHT_INITS) == choices.WEIGHT_INITS


def test_signed_constants_are_those_of_saved_models():
    fans = set()
    for architecture in NETWORKS:
        model = build(architecture, generator=seeded(99))
        before = kernels(model)
        reinitialise(model, "signed-constant", seeded(0))
        for name, weight in kernels(model).items():
            fan_in = weight[0].numel()
            fans.add(fan_in)
            constant = CONSTANTS[fan_in]
            assert weight.unique().tolist() == pytest.approx([-constant, constant], abs=6e-8)
            assert torch.equal(weight.sign(), before[name].sign())
            assert weight.double().square().sum().item() == pytest.approx(2 * len(weight), rel=1e-6)
    assert fans == CONSTANTS.keys()


@given(st.integers(1, 6), st.integers(1, 6), st.sampled_from([(), (1, 1), (3, 3), (2, 5)]), st.integers(0, 10**6))
@settings(max_examples=30, deadline=None)
def test_signed_constants_of_any_shape(outputs, inputs, window, seed):
    """The sum of squares is twice the number of units, whatever the shape; half of the weights were 0."""
    layer = MaskedConv2d(inputs, outputs, window) if window else MaskedLinear(inputs, outputs)
    with torch.no_grad():
        layer.weight.normal_(generator=seeded(seed)).mul_(torch.rand(layer.weight.shape, generator=seeded(seed)) < 0.5)
    before = layer.weight.detach().clone()
    reinitialise(layer, "signed-constant", seeded(0))
    assert layer.weight.double().square().sum().item() == pytest.approx(2 * outputs, rel=1e-6)
    assert torch.equal(layer.weight > 0, before >= 0), "no weight of 0 is left, and no sign has changed"


@pytest.mark.parametrize("zero", [0.0, -0.0])
@pytest.mark.parametrize("name", ["signed-constant", "xavier-constant"])
def test_a_weight_of_zero_gets_a_definite_sign(name, zero):
    layer = MaskedLinear(4, 2)
    nn.init.constant_(layer.weight, zero)
    reinitialise(layer, name, seeded(0))
    constant = math.sqrt(2 / 4) if name == "signed-constant" else math.sqrt(2 / (4 + 2))
    torch.testing.assert_close(layer.weight.detach(), torch.full((2, 4), constant))


def test_other_constants():
    before = kernels(build("lenet5", generator=seeded(99)))
    unsigned, xavier = reinitialised("unsigned-constant"), reinitialised("xavier-constant")
    for name, weight in before.items():
        fan_in, area = weight[0].numel(), weight[0, 0].numel()
        fans = area * (weight.shape[0] + weight.shape[1])
        torch.testing.assert_close(unsigned[name], torch.full_like(weight, math.sqrt(2 / fan_in)))
        torch.testing.assert_close(xavier[name], weight.sign() * math.sqrt(2 / fans))


@pytest.mark.parametrize(("name", "draw", "size"), [
    ("kaiming-normal", torch.randn, lambda fan_in, fan_out: math.sqrt(2 / fan_in)),
    ("xavier-normal", torch.randn, lambda fan_in, fan_out: math.sqrt(2 / (fan_in + fan_out))),
    ("kaiming-uniform", torch.rand, lambda fan_in, fan_out: math.sqrt(6 / fan_in)),
    ("standard", torch.rand, lambda fan_in, fan_out: math.sqrt(1 / fan_in)),
])  # fmt: skip
def test_draws_have_the_size_of_the_paper(name, draw: Callable, size: Callable[[int, int], float]):
    """A normal rule by its standard deviation, a uniform one by its bound; kernels in the order of the model."""
    generator = seeded(3)
    for weight in reinitialised(name, seed=3).values():
        area = weight[0, 0].numel()
        unit = draw(weight.shape, generator=generator)
        unit = unit if draw is torch.randn else 2 * unit - 1
        torch.testing.assert_close(weight, unit * size(area * weight.shape[1], area * weight.shape[0]))


def test_standard_is_the_default_of_pytorch():
    torch.manual_seed(11)
    expected = kernels(build("gem-miner/fc"))
    found = reinitialised("standard", "gem-miner/fc", seed=11)
    assert expected.keys() == found.keys() and all(torch.equal(expected[name], found[name]) for name in found)


@every_rule
def test_the_scale_multiplies_the_fan(name):
    whole, quarter = reinitialised(name), reinitialised(name, scale=0.25)
    assert all(torch.equal(quarter[key], 2 * whole[key]) for key in whole)


@every_rule
def test_only_kernels_change(name):
    model = build("lottery/resnet20", generator=seeded(1))
    for kind in ("bias", "batchnorm", "residual"):
        add_masks(model, kind)
    masks = random_masks(model, 0.3, seed=0)
    masks.install(model)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    reinitialise(model, name, seeded(0))
    changed = {key for key, value in model.state_dict().items() if not torch.equal(value, before[key])}
    assert changed == kernels(model).keys() and Masks.of(model).keys() - changed
    assert all(torch.equal(mask, masks[key]) for key, mask in Masks.of(model).items())


def test_layers_without_a_mask_keep_their_weights():
    model = build("gem-miner/resnet20", generator=seeded(1))
    before = {key: value.clone() for key, value in model.state_dict().items()}
    reinitialise(model, "kaiming-normal", seeded(0))
    after = model.state_dict()
    skips = [key for key in after if key.endswith("skip.weight")]
    assert len(skips) == 9 and all(torch.equal(after[key], before[key]) for key in skips)


@every_rule
def test_the_generator_decides_alone(name):
    before = torch.random.get_rng_state()
    one, two, other = (reinitialised(name, seed=seed) for seed in (0, 0, 1))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert all(torch.equal(one[key], two[key]) for key in one)
    is_drawn = not name.endswith("constant")
    assert all(torch.equal(one[key], other[key]) != is_drawn for key in one)


@every_rule
def test_the_layout_of_a_kernel_changes_no_draw(name):
    expected = reinitialised(name)
    model = build("lenet5", generator=seeded(99)).to(memory_format=torch.channels_last)
    reinitialise(model, name, seeded(0))
    assert all(torch.equal(weight, expected[key]) for key, weight in kernels(model).items())
    assert model.get_parameter("conv1.weight").is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("name", ["signed-constant", "unsigned-constant", "xavier-constant"])
def test_constants_are_exact_in_double_precision(name):
    layer = MaskedLinear(3, 5).double()
    reinitialise(layer, name, seeded(0))
    constant = math.sqrt(2) / math.sqrt(3) if name != "xavier-constant" else math.sqrt(2 / 8)
    assert set(layer.weight.abs().flatten().tolist()) == {constant}


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@every_rule
def test_a_gpu_gets_the_same_values(name):
    model = build("lenet5", generator=seeded(99)).cuda()
    reinitialise(model, name, seeded(0))
    assert all(torch.equal(weight.cpu(), other) for weight, other in zip(
        kernels(model).values(), reinitialised(name).values(), strict=True
    ))  # fmt: skip


def test_mistakes():
    layer = MaskedLinear(3, 2)
    before = layer.weight.detach().clone()
    with pytest.raises(UserError, match="unknown weight initialisation 'signed'; did you mean 'signed-constant'"):
        reinitialise(layer, "signed", seeded(0))
    for scale in (0.0, -1.0, math.nan):
        with pytest.raises(ValueError, match=rf"the scale of the fan is {scale}; it must be greater than 0"):
            reinitialise(layer, "standard", seeded(0), scale)
    with pytest.raises(ValueError, match="Linear has no prunable parameters"):
        reinitialise(nn.Linear(3, 2), "standard", seeded(0))
    assert torch.equal(layer.weight, before)
