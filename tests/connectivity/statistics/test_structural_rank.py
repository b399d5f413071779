"""Structural rank against brute force, generic ranks of matrices and flows of single positions; its curve and cuts."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from brute_force import all_paths, entry_matrices, matrices, mlp, most_disjoint, vertex_flow
from examples import EXAMPLES, WITHOUT_RULE, Chain, dependencies, name_of
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import NETWORKS, make, random_masks
from random_networks import SHAPE, networks
from torch import nn

from Layers import MaskedConv2d, MaskedLinear, Masks, prunable
from Utils.connectivity.effective import effective_masks, effective_scores, ranking
from Utils.connectivity.ops.elementwise import Product
from Utils.connectivity.ops.table import OPERATIONS
from Utils.connectivity.statistics.structural_rank import cuts, rank_curve, structural_rank
from Utils.errors import UserError

seeds = st.integers(0, 10**6)
densities = st.sampled_from([0.15, 0.3, 0.5, 0.8])


@settings(max_examples=100, deadline=None)
@given(sizes=st.lists(st.integers(1, 4), min_size=2, max_size=4), density=densities, seed=seeds)
def test_rank_of_an_mlp_is_the_largest_set_of_disjoint_paths(sizes, density, seed):
    model = mlp(sizes)
    masks = random_masks(model, density, seed)
    assert structural_rank(model, (sizes[0],), masks) == most_disjoint(all_paths(matrices(masks)))


@settings(max_examples=100, deadline=None)
@given(sizes=st.lists(st.integers(1, 12), min_size=2, max_size=5), density=densities, seed=seeds)
def test_rank_of_a_linear_network_is_the_generic_rank_of_its_product(sizes, density, seed):
    model = mlp(sizes)
    masks = random_masks(model, density, seed)
    generator = np.random.default_rng(seed)
    total = np.eye(sizes[0])
    for mask in matrices(masks):
        total = mask * generator.uniform(0.5, 1.5, mask.shape) @ total
    assert structural_rank(model, (sizes[0],), masks) == np.linalg.matrix_rank(total)


@st.composite
def maps(draw: st.DrawFn) -> nn.Sequential:
    """Convolutions of any kind and pools, one after the other, and a dense layer."""
    steps: list[nn.Module] = []
    channels, size = 2, 4
    for _ in range(draw(st.integers(1, 3))):
        if draw(st.booleans()):
            outputs = 2 * draw(st.integers(1, 2))
            kernel = draw(st.integers(1, min(3, size)))
            step: nn.Module = MaskedConv2d(
                channels, outputs, kernel, stride=draw(st.integers(1, 2)), padding=kernel // 2,
                groups=draw(st.integers(1, 2)), padding_mode=draw(st.sampled_from(["zeros", "circular"])),
            )  # fmt: skip
            channels = outputs
        else:
            step = draw(st.sampled_from([nn.AvgPool2d(2, 1), nn.MaxPool2d(2, 2, 1), nn.AdaptiveAvgPool2d(2)]))
        steps.append(step)
        size = nn.Sequential(*steps)(torch.zeros(1, 2, 4, 4)).shape[-1]
        if size < 2:
            break
    return nn.Sequential(*steps, nn.Flatten(), MaskedLinear(channels * size * size, draw(st.integers(1, 12))))


@settings(max_examples=60, deadline=None)
@given(model=maps(), density=st.sampled_from([0.1, 0.3, 0.6]), seed=seeds)
def test_rank_of_maps_is_at_least_the_flow_of_positions_and_at_most_the_cut(model, density, seed):
    masks = random_masks(model, density, seed)
    rank = structural_rank(model, (2, 4, 4), masks)
    assert rank <= min(cuts(model, (2, 4, 4), masks).values())
    assert rank >= vertex_flow(entry_matrices(model, masks, (2, 4, 4)))


@settings(max_examples=40, deadline=None)
@given(channels=st.lists(st.integers(1, 4), min_size=2, max_size=4), outputs=st.integers(1, 14), seed=seeds)
def test_rank_of_pointwise_convolutions_is_the_flow_of_positions(channels, outputs, seed):
    """Each position is a copy of the same linear network, and the dense head joins every copy to every output."""
    steps = [MaskedConv2d(before, after, 1) for before, after in pairwise(channels)]
    head = MaskedLinear(channels[-1] * 6, outputs)
    model = nn.Sequential(*steps, nn.Flatten(), head)
    masks = random_masks(model, 0.5, seed)
    masks = Masks({name: mask | name.startswith(f"{len(model) - 1}.") for name, mask in masks.items()})
    shape = (channels[0], 2, 3)
    expected = vertex_flow(entry_matrices(model, masks, shape))
    assert structural_rank(model, shape, masks) == expected


@pytest.mark.parametrize(("key", "example"), EXAMPLES.items(), ids=map(name_of, EXAMPLES))
def test_every_operation_carries_at_least_the_flow_of_its_entries(key, example):
    """The entries that an operation joins are found by changing one after the other."""
    model = Chain(example).eval()
    if key in WITHOUT_RULE:
        with pytest.raises(UserError) as expected:
            effective_masks(model, (3,))
        with pytest.raises(UserError, match="no rule says how the operation") as error:
            structural_rank(model, (3,))
        assert str(error.value) == str(expected.value)
        return
    alive = torch.ones(sum(torch.Size(shape).numel() for shape in model.shapes), dtype=torch.bool)
    depends = dependencies(model.double(), alive, torch.Generator().manual_seed(0)).numpy()
    for seed in range(3):
        masks = random_masks(model, 0.4, seed)
        before = np.concatenate([masks[f"layers.{index}.weight"].numpy() for index in range(len(model.layers))])
        for name, mask in masks.items():
            if name.startswith("operation") and not isinstance(model.operation, nn.Conv2d | nn.Linear):
                mask.fill_(True)  # a scale
        joined = depends if not isinstance(model.operation, nn.Conv2d | nn.Linear) else _joined(model, masks)
        if isinstance(OPERATIONS[key], Product) and len(model.layers) == 2:
            joined[:, : joined.shape[1] // 2] = False  # the gate
        rank = structural_rank(model, (3,), masks)
        assert rank >= vertex_flow([before, joined, masks["head.weight"].numpy()])
        assert rank <= 2


def _joined(model: Chain, masks: Masks) -> np.ndarray:
    own = Masks({name.removeprefix("operation."): mask for name, mask in masks.items() if name.startswith("operation")})
    if not own:
        return np.ones((model.head.in_features, sum(torch.Size(shape).numel() for shape in model.shapes)))
    with torch.no_grad():
        (matrix,) = entry_matrices(nn.Sequential(model.operation.float()), Masks(
            {f"0.{name}": mask for name, mask in own.items()}), model.shapes[0])  # fmt: skip
    return matrix


@pytest.mark.parametrize("name", NETWORKS)
def test_curve_equals_the_rank_at_each_level(name):
    model, shape = make(name)
    generator = torch.Generator().manual_seed(3)
    scores = {key: torch.rand(weight.shape, generator=generator) for key, (weight, _) in prunable(model).items()}
    first = rank_curve(model, effective_scores(model, scores, shape), shape)
    ranks, size = ranking(model, scores), sum(score.numel() for score in scores.values())
    assert len(first) == structural_rank(model, shape) > 1
    for kept in {*range(0, size + 1, 1 + size // 20), *first.tolist(), *(first - 1).tolist(), size}:
        masks = {key: rank > size - kept for key, rank in ranks.items()}
        assert structural_rank(model, shape, masks) == int((first <= kept).sum()), kept


@settings(max_examples=25, deadline=None)
@given(model=networks(), seed=seeds)
def test_rank_is_monotone_and_that_of_the_effective_masks(model, seed):
    generator = torch.Generator().manual_seed(seed)
    levels = {name: torch.rand(weight.shape, generator=generator) for name, (weight, _) in prunable(model).items()}
    previous = 0
    for density in (0.15, 0.3, 0.5, 1.0):
        masks = Masks({name: level < density for name, level in levels.items()})
        rank = structural_rank(model, SHAPE, masks)
        assert rank >= previous
        effective = effective_masks(model, SHAPE, masks)
        assert structural_rank(model, SHAPE, effective) == rank
        assert cuts(model, SHAPE, effective) == cuts(model, SHAPE, masks)
        previous = rank
