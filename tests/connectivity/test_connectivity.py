"""Effective masks and ranks against brute-force path searches, and the examples of the specification."""

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import NETWORKS, make, path_counts, random_masks
from torch import Tensor, nn

from Layers import MaskedBatchNorm2d, MaskedConv2d, MaskedIdentity, MaskedLinear, Masks, add_masks, prunable
from Models import build
from Utils.connectivity.effective import (
    compression_curve,
    dead_units,
    effective_masks,
    effective_scores,
    propagate_masks,
    ranking,
)


def same(left: dict[str, Tensor], right: dict[str, Tensor]) -> bool:
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("density", [0.2, 0.35, 0.5, 0.8])
def test_effective_masks_equal_a_sum_over_paths(name, density):
    model, shape = make(name)
    for seed in range(12):
        masks = random_masks(model, density, seed)
        assert same(effective_masks(model, shape, masks), path_counts(model, masks, shape)), seed


@pytest.mark.parametrize("name", NETWORKS)
def test_effective_ranks_are_right_for_every_threshold(name):
    model, shape = make(name)
    generator = torch.Generator().manual_seed(5)
    scores = {key: torch.rand(weight.shape, generator=generator) for key, (weight, _) in prunable(model).items()}
    ranks, effective = ranking(model, scores), effective_scores(model, scores, shape)
    curve = compression_curve(model, scores, shape)
    total = sum(rank.numel() for rank in ranks.values())
    assert len(curve) == total + 1
    for kept in range(total + 1):
        threshold = total - kept + 1
        masks = Masks({key: rank >= threshold for key, rank in ranks.items()})
        assert masks.kept == kept
        brute = path_counts(model, masks, shape)
        assert same({key: rank >= threshold for key, rank in effective.items()}, brute)
        assert curve[kept] == sum(int(mask.sum()) for mask in brute.values())


def literal_paths(layers: list[nn.Module], masks: dict[str, Tensor], size: tuple[int, int, int]) -> dict[str, set]:
    """Depth-first search over (layer, channel, row, column): the weight entries on any path to the last layer."""
    on_path: dict[str, set] = {name: set() for name in masks}
    names = list(masks)

    def search(depth: int, unit: tuple[int, int, int], height: int, width: int) -> bool:
        if depth == len(layers):
            return True
        layer, mask = layers[depth], masks[names[depth]]
        kernel, stride, padding = layer.kernel_size[0], layer.stride[0], layer.padding[0]
        out_height = (height + 2 * padding - kernel) // stride + 1
        out_width = (width + 2 * padding - kernel) // stride + 1
        reached = False
        for channel, i, j in itertools.product(range(mask.shape[0]), range(out_height), range(out_width)):
            row, column = unit[1] - (i * stride - padding), unit[2] - (j * stride - padding)
            is_tap = 0 <= row < kernel and 0 <= column < kernel and mask[channel, unit[0], row, column]
            if is_tap and search(depth + 1, (channel, i, j), out_height, out_width):
                on_path[names[depth]].add((channel, unit[0], row, column))
                reached = True
        return reached

    for unit in itertools.product(*map(range, size)):
        search(0, unit, size[1], size[2])
    return on_path


@pytest.mark.parametrize("seed", range(6))
def test_effective_masks_equal_a_literal_search(seed):
    layers = [
        MaskedConv2d(1, 2, 3, padding=1, stride=2),
        MaskedConv2d(2, 2, 2, padding=1),
        MaskedConv2d(2, 2, 3),
    ]
    model, shape = nn.Sequential(*layers), (1, 4, 5)
    masks = random_masks(model, 0.3, seed)
    found = literal_paths(layers, dict(masks), shape)
    for name, mask in effective_masks(model, shape, masks).items():
        assert {tuple(index) for index in mask.nonzero().tolist()} == found[name]


def two_corners(second: tuple[int, int]) -> nn.Module:
    model = nn.Sequential(
        MaskedConv2d(1, 1, 3, padding=1), MaskedConv2d(1, 1, 3, padding=1), nn.Flatten(), MaskedLinear(4, 1)
    )
    for layer, (row, column) in zip(model, ((0, 0), second), strict=False):
        layer.weight_mask.fill_(False)
        layer.weight_mask[0, 0, row, column] = True
    return model


def test_zero_padding_is_no_source():
    model = two_corners((0, 0))
    assert not any(mask.any() for mask in effective_masks(model, (1, 2, 2)).values())
    assert all(mask.any() for mask in effective_masks(model, (1, 2, 2), effective_type="graph").values())
    assert propagate_masks(model, (1, 2, 2)).output == 0


def test_opposite_corners_leave_one_dense_weight():
    effective = effective_masks(two_corners((2, 2)), (1, 2, 2))
    assert {name: int(mask.sum()) for name, mask in effective.items()} == {"0.weight": 1, "1.weight": 1, "3.weight": 1}


def test_max_pooling_joins_its_whole_window():
    model = nn.Sequential(MaskedConv2d(1, 1, (1, 3), padding=(0, 1)), nn.MaxPool2d(2), nn.Flatten(), MaskedLinear(1, 1))
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([1.0, 0.0, 0.5]).reshape(1, 1, 1, 3))
    model[0].weight_mask[0, 0, 0, 1] = False
    assert effective_masks(model, (1, 2, 2))["0.weight"].flatten().tolist() == [True, False, True]


@settings(max_examples=40, deadline=None)
@given(name=st.sampled_from(list(NETWORKS)), density=st.floats(0.05, 1), seed=st.integers(0, 10**6))
def test_invariants(name, density, seed):
    model, shape = make(name)
    masks = random_masks(model, density, seed)
    more = masks | random_masks(model, 0.2, seed + 1)
    exact, graph = (Masks(effective_masks(model, shape, masks, kind)) for kind in ("exact", "graph"))
    assert (exact - masks).kept == 0 and (exact - graph).kept == 0 and (graph - masks).kept == 0
    assert Masks(effective_masks(model, shape, exact)) == exact
    assert (exact - Masks(effective_masks(model, shape, more))).kept == 0


def test_dense_networks_need_no_positions():
    model = build("lenet300100")
    for seed in range(3):
        masks = random_masks(model, 0.01, seed)
        assert same(effective_masks(model, (1, 28, 28), masks), effective_masks(model, (1, 28, 28), masks, "graph"))


def test_replacing_masks_by_effective_ones_keeps_the_function():
    model = nn.Sequential(
        MaskedConv2d(2, 4, 3, padding=1, bias=False), nn.ReLU(), MaskedConv2d(4, 4, 3, stride=2, padding=1, bias=False),
        nn.ReLU(), nn.Flatten(), MaskedLinear(16, 3, bias=False),
    ).double()  # fmt: skip
    masks = random_masks(model, 0.2, 3)
    effective = Masks(effective_masks(model, (2, 4, 4), masks))
    x = torch.randn(50, 2, 4, 4, dtype=torch.float64)
    masks.install(model)
    before = model(x)
    effective.install(model)
    assert effective.kept < masks.kept
    torch.testing.assert_close(model(x), before)


def test_biases_scales_and_skips_are_edges_when_prunable():
    model = nn.Sequential(MaskedConv2d(1, 3, 1), MaskedBatchNorm2d(3), MaskedIdentity(3), MaskedConv2d(3, 1, 1))
    for kind in ("bias", "batchnorm", "residual"):
        add_masks(model, kind)
    masks = dict(prunable(model))
    assert sum(mask.numel() for _, mask in masks.values()) == 3 + 3 + 3 + 3 + 3 + 3 + 1
    masks["0.weight"][1][0] = False  # channel 0: no weight in
    masks["1.weight"][1][1] = False  # channel 1: no scale
    masks["2.weight"][1][2] = False  # channel 2: no skip
    effective = effective_masks(model, (1, 2, 2))
    assert not any(bool(mask.any()) for mask in effective.values())
    masks["2.weight"][1][2] = True
    effective = effective_masks(model, (1, 2, 2))
    alone = [False, False, True]
    for name in ("0.weight", "0.bias", "1.weight", "1.bias", "2.weight", "3.weight"):
        assert effective[name].flatten().tolist() == alone, name
    assert effective["3.bias"].tolist() == [True]


def test_plain_layers_carry_everything():
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), MaskedLinear(2, 2), nn.Linear(2, 1))
    effective = effective_masks(model, (1, 3, 3))
    assert list(effective) == ["2.weight"] and effective["2.weight"].all()


def test_dead_units_are_hidden_units_without_a_weight():
    model = nn.Sequential(nn.Flatten(), MaskedLinear(3, 4), nn.ReLU(), MaskedLinear(4, 2))
    model[1].weight_mask[0] = False
    model[3].weight_mask[:, 3] = False
    model[3].weight_mask[1] = False
    found = propagate_masks(model, (1, 1, 3))
    assert found.output_layers == {"3"}
    dead = dead_units({name: ranks > 0 for name, ranks in found.effective.items()}, found.output_layers)
    assert sum(dead.values()) == 2
