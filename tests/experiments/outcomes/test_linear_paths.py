"""Linear paths: barriers in closed form, ends, recomputed statistics, and permuted networks."""

import copy
from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from networks import Concatenation, Residual
from torch import nn

from Experiments.common.linear_path import barrier, barriers, linear_path, recompute_statistics
from Experiments.comparison.distances.alignment import kernels_of
from Experiments.comparison.distances.comparing import alignment_of
from Experiments.comparison.distances.measures import measure
from Experiments.comparison.networks import Network
from Experiments.comparison.outcomes.paths import path_tables
from Experiments.comparison.outcomes.permuting import permuted
from Layers import MaskedConv2d, MaskedLinear, Masks, prunable
from Models import build
from Utils.config.resolved import Recipe
from Utils.data.dataset import Batches, load
from Utils.data.image_spec import ImageSpec
from Utils.errors import UserError
from Utils.training.evaluation import evaluate

WHOLE = load("digits", "none", ImageSpec((1, 16, 16)))
FEW = torch.arange(60)
DIGITS = replace(WHOLE, train=WHOLE.train.take(FEW), test=WHOLE.test.take(FEW))
NUMBERS = st.floats(-5, 5)


@given(NUMBERS, NUMBERS, NUMBERS)
def test_the_barrier_of_a_quadratic_is_its_height_above_the_chord(curvature, slope, constant):
    alphas = np.linspace(0, 1, 11)
    values = curvature * alphas**2 + slope * alphas + constant
    # Above the chord it has curvature (alpha^2 - alpha), which is largest, or 0, in the middle.
    assert barrier(alphas, values) == pytest.approx(max(0.0, -curvature / 4), abs=1e-12)
    assert barrier(alphas, values[::-1]) == pytest.approx(barrier(alphas, values), abs=1e-12)


def test_barriers_of_a_double_well_and_of_a_gap():
    alphas = np.linspace(0, 1, 11)
    assert barrier(alphas, ((2 * alphas - 1) ** 2 - 1) ** 2) == pytest.approx(1)
    assert barrier(alphas, 3 - 2 * alphas) == 0
    assert np.isnan(barrier(alphas, np.where(alphas == 0.5, np.nan, 1.0)))
    flat = {"train_loss": 1.0, "train_top1": 1.0, "test_loss": [0.0, 2.0, 1.0], "top1": [0.9, 0.4, 0.7]}
    found = barriers(pd.DataFrame({"alpha": [0.0, 0.5, 1.0], **flat}))
    assert found == {"barrier": 1.5, "error_barrier": pytest.approx(0.4), "train_barrier": 0, "train_error_barrier": 0}


def network(seed: int, density: float = 0.5) -> nn.Module:
    """A network without batch normalisation, with masks of its own."""
    torch.manual_seed(seed)
    convolution = nn.Sequential(MaskedConv2d(1, 6, 5, stride=2), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten())
    model = nn.Sequential(*convolution, MaskedLinear(54, 20), nn.ReLU(), MaskedLinear(20, 10)).eval()
    draw_masks(model, seed, density)
    return model


def draw_masks(model: nn.Module, seed: int, density: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    for _, mask in prunable(model).values():
        mask.copy_(torch.rand(mask.shape, generator=generator) < density)


def test_ends_are_the_networks_and_the_middle_is_the_mean_of_masked_weights():
    first, second = network(1), network(2, 0.3)
    before = [copy.deepcopy(model.state_dict()) for model in (first, second)]
    path = linear_path(first, second, DIGITS, Recipe(), points=3)
    middle = copy.deepcopy(first)
    state = {name: value.clone() for name, value in first.state_dict().items()}
    for name, (weight, mask) in prunable(first).items():
        other, others = prunable(second)[name]
        state[name] = (weight * mask + other * others) / 2
        state[f"{name}_mask"] = torch.ones_like(mask)
    for name, value in second.state_dict().items():
        if name not in prunable(first) and value.is_floating_point():
            state[name] = (state[name] + value) / 2
    middle.load_state_dict(state)
    for model, (_, row) in zip((first, middle, second), path.iterrows(), strict=True):
        for split, loss, top1 in ((DIGITS.train, "train_loss", "train_top1"), (DIGITS.test, "test_loss", "top1")):
            scores = evaluate(model, DIGITS, split)
            tolerance = {"rel": 1e-5} if model is middle else {"abs": 0}
            assert row[loss] == pytest.approx(scores.loss, **tolerance) and row[top1] == scores.top1
    assert path["alpha"].tolist() == [0, 0.5, 1]
    for model, state in zip((first, second), before, strict=True):
        assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())


def test_statistics_are_recomputed_at_every_point():
    model = build("lottery/resnet20", (1, 16, 16), generator=torch.Generator().manual_seed(3)).eval()
    own = evaluate(model, DIGITS, DIGITS.test).loss
    path = linear_path(model, model, DIGITS, Recipe(), points=3)
    recomputed = copy.deepcopy(model)
    for layer in recomputed.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.momentum, layer.training = 1.0, True  # one batch holds all images
    images = DIGITS.normalised(DIGITS.train.images)
    with torch.no_grad():
        recomputed(images)
    expected = evaluate(recomputed, DIGITS, DIGITS.test).loss
    np.testing.assert_allclose(path["test_loss"], expected, rtol=1e-5)
    assert abs(own - expected) > 1e-3, "otherwise nothing is shown"


def test_statistics_are_means_over_batches_and_nothing_else_changes():
    model = nn.Sequential(nn.BatchNorm2d(1, momentum=0.3), nn.Dropout(0.9), nn.Flatten())
    recompute_statistics(model, Batches(DIGITS, DIGITS.train, 20))
    images = DIGITS.normalised(DIGITS.train.images)
    means = [part.mean().item() for part in images.split(20)]
    assert model[0].running_mean.item() == pytest.approx(np.mean(means), rel=1e-5)
    variances = [part.var().item() for part in images.split(20)]
    assert model[0].running_var.item() == pytest.approx(np.mean(variances), rel=1e-5)
    assert model[0].momentum == 0.3 and not any(module.training for module in model.modules())


def rolled(model: nn.Module, layers: list[str]) -> dict[str, np.ndarray]:
    """An order of the units of each layer that is not its own inverse, if there are more than two."""
    return {name: np.roll(np.arange(len(model.get_parameter(f"{name}.weight"))), 1) for name in layers}


def hidden(model: nn.Module) -> list[str]:
    return [name.removesuffix(".weight") for name, (weight, _) in prunable(model).items() if weight.dim() > 1][:-1]


CASES = {
    "dense": (partial(build, "fc", (1, 8, 8)), (1, 8, 8), hidden),
    "dense, batch normalisation": (partial(build, "lenet300100", (1, 8, 8)), (1, 8, 8), hidden),
    "convolution, flattened": (partial(build, "lenet5", (1, 16, 16)), (1, 16, 16), hidden),
    "inside of blocks": (
        partial(build, "lottery/resnet20", (1, 8, 8)), (1, 8, 8),
        lambda model: [name for name in hidden(model) if name.endswith("conv1") and name != "conv1"],
    ),
    "concatenation": (Concatenation, (2, 4, 4), lambda model: ["first", "second"]),
}  # fmt: skip


def disturbed(make, seed: int = 0) -> nn.Module:
    """A network whose masks, biases and channels of normalisation all differ."""
    torch.manual_seed(seed)
    model = make().eval()
    draw_masks(model, seed, 0.7)
    with torch.no_grad():
        for name, value in model.state_dict().items():
            if value.dim() == 1 and value.is_floating_point():
                value.add_(torch.rand(value.shape) + 0.1 * ("var" in name))
    return model


@pytest.mark.parametrize("name", CASES)
def test_permuted_networks_are_the_same_function_and_return(name):
    make, shape, layers = CASES[name]
    model = disturbed(make)
    orders = rolled(model, layers(model))
    assert orders
    moved = permuted(model, shape, orders)
    x = torch.randn(5, *shape)
    torch.testing.assert_close(moved(x), model(x), rtol=1e-4, atol=1e-4)
    for layer, order in orders.items():
        bias = model.get_submodule(layer).state_dict().get("bias")
        if bias is not None:
            assert torch.equal(moved.get_submodule(layer).bias, bias[order])
    kernel = f"{next(iter(orders))}.weight"
    assert not torch.equal(moved.get_parameter(kernel), model.get_parameter(kernel))
    back = permuted(moved, shape, {layer: np.argsort(order) for layer, order in orders.items()})
    assert all(torch.equal(value, model.state_dict()[name]) for name, value in back.state_dict().items())


def test_tied_layers_need_one_order():
    model = disturbed(Residual)
    order = np.array([2, 0, 1])
    moved = permuted(model, (2, 6, 6), {"stem": order, "left": order, "right": np.arange(4), "shortcut": np.arange(4)})
    x = torch.randn(5, 2, 6, 6)
    torch.testing.assert_close(moved(x), model(x))
    assert torch.equal(moved.norm.running_var, model.norm.running_var[order])
    for orders in ({"stem": order}, {"stem": order, "left": order[::-1]}, {"head": np.array([1, 0])}):
        with pytest.raises(UserError, match="units of Residual cannot be permuted like this"):
            permuted(model, (2, 6, 6), orders)


def compared(name: str, model: nn.Module) -> Network:
    return Network(name, name[:-1], int(name[-1]), model, (1, 16, 16), "", name)


def test_matching_removes_the_barrier_between_permuted_twins():
    first = network(5, 0.9)
    with torch.no_grad():
        for weight, _ in prunable(first).values():
            weight.mul_(2)
    orders = rolled(first, hidden(first))
    twin = permuted(first, (1, 16, 16), orders)
    back = {layer: np.argsort(order) for layer, order in orders.items()}
    pair = compared("a0", first), compared("b1", twin)
    found = path_tables([pair], DIGITS, Recipe(), permutations={("a0", "b1"): back}, points=5)
    paths = found["paths"].set_index("alignment")
    assert np.ptp(paths.loc["matched", "test_loss"]) < 1e-6 and np.ptp(paths.loc["none", "test_loss"]) > 1e-2
    rows = found["barriers"].set_index("alignment")
    assert rows.loc["matched", "barrier"] < 1e-6 and len(paths) == 10
    assert rows.loc["none", ["first", "second", "first_group", "second_sample"]].tolist() == ["a0", "b1", "a", 1]


def test_networks_of_other_shapes_are_one_line():
    pair = compared("a0", network(1)), compared("b0", build("fc", (1, 16, 16)))
    with pytest.raises(UserError, match="a0 and b0 differ: layer 1"):
        path_tables([pair], DIGITS, Recipe())
    assert path_tables([], DIGITS, Recipe())["barriers"].empty


@pytest.mark.parametrize("name", ["gem-miner/resnet20", "union/resnet20", "lottery/resnet20"])
def test_units_of_residual_networks_are_matched_with_their_unmasked_shortcuts(name):
    """The copy that `permuted` returns is checked to be the same function."""
    networks = []
    for seed in (0, 1):
        model = build(name, (3, 8, 8), 10, generator=torch.Generator().manual_seed(seed)).eval()
        generator = torch.Generator().manual_seed(seed)
        Masks({
            key: torch.rand(mask.shape, generator=generator) < 0.3 for key, (_, mask) in prunable(model).items()
        }).install(model)  # fmt: skip
        networks.append(Network(f"a s{seed}", "a", seed, model, (3, 8, 8), "", ""))
    alignment = alignment_of(networks)
    kernels = [kernels_of(one.layers) for one in networks]
    partners = alignment.partners(*kernels, measure("maed"), np.random.default_rng(0))
    orders = alignment.symmetries.orders(partners)
    moved = permuted(networks[1].model, (3, 8, 8), orders)
    names = {layer for layer in orders if (orders[layer] != np.arange(len(orders[layer]))).any()}
    assert any("skip" in layer or "shortcut" in layer for layer in orders) and len(names) > 10
    aligned = alignment.aligned(kernels[1], partners)
    for layer in Network("b", "b", 0, moved, (3, 8, 8), "", "").layers:
        np.testing.assert_allclose(layer.weights.reshape(aligned[layer.name].shape), aligned[layer.name])
