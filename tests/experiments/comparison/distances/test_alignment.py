"""Alignment of networks: planted permutations are recovered, functions stay, and distances never grow."""

import numpy as np
import pytest
import torch
from conftest import shared
from permuted import PLANTED, Blocks, inputs, masked, network, permuted, random_partners, symmetries
from torch import nn

from Experiments.comparison.distances.alignment import first_layer_first, kernels_of, likeness, rows, tied
from Experiments.comparison.distances.comparing import Alignment, alignment_of, distances
from Experiments.comparison.distances.local_search import local_search
from Experiments.comparison.distances.measures import MEASURES
from Experiments.comparison.networks import Network
from Layers import MaskedLinear


def mlp(*weights: np.ndarray) -> nn.Module:
    """A network of given weights; zeros are pruned."""
    layers: list[nn.Module] = [nn.Flatten()]
    for weight in map(torch.from_numpy, weights):
        layer = MaskedLinear(*reversed(weight.shape), bias=False)
        layer.weight.data, layer.weight_mask = weight.clone(), weight != 0
        layers += [layer, nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def plant(name: str, density: float = 0.6) -> tuple[Network, np.ndarray, Network]:
    """A network, partners and its copy with permuted units."""
    torch.manual_seed(0)
    make_model, shape, norms = PLANTED[name]
    own = network(masked(make_model(), density), shape)
    for norm in norms:
        for value in [*own.model.get_submodule(norm).parameters(), own.model.get_submodule(norm).running_mean]:
            nn.init.uniform_(value, 0.5, 2)
    partners = random_partners(symmetries(own), 3)
    return own, partners, permuted(own, partners, norms)


@pytest.mark.parametrize("kind", ["auto", "first-layer-first", "tied"])
@pytest.mark.parametrize("measure", MEASURES)
@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_permutation_is_recovered(name, measure, kind):
    own, planted, other = plant(name)
    x = inputs(own)
    torch.testing.assert_close(own.model(x), other.model(x), rtol=1e-5, atol=1e-6)
    first, second = kernels_of(own.layers), kernels_of(other.layers)
    unaligned = alignment_of([own, other], "none")
    assert distances(unaligned, first, second, MEASURES[measure], np.random.default_rng(0)).mean() > 0.2
    alignment = alignment_of([own, other], kind)
    assert (distances(alignment, first, second, MEASURES[measure], np.random.default_rng(0)) == 0).all()
    found = alignment.partners(first, second, MEASURES[measure], np.random.default_rng(0))
    np.testing.assert_array_equal(planted[found], symmetries(own).identity)
    moves_back = alignment.partners(second, first, MEASURES[measure], np.random.default_rng(0))
    np.testing.assert_array_equal(moves_back, planted)


def test_golden_dense_networks():
    case = np.load(shared("golden/planted_mlp.npz"))
    own, other, twin = (
        network(mlp(*(case[f"{letter}{layer}"] for layer in range(3))), (24,), letter) for letter in "ABC"
    )
    first, second = kernels_of(own.layers), kernels_of(twin.layers)
    alignment = alignment_of([own, twin])
    for measure in MEASURES.values():
        assert (distances(alignment, first, second, measure, np.random.default_rng(0)) == 0).all()
        assert distances(alignment, first, kernels_of(other.layers), measure, np.random.default_rng(0)).min() > 0.1
        partners = alignment.partners(first, second, measure, np.random.default_rng(0))
        for stream, layer, planted in zip(alignment.symmetries.streams, own.layers, ("p1", "p2"), strict=False):
            found = partners[stream] - stream[0]
            live = layer.effective.any(1)
            assert (case[planted][found][live] == np.flatnonzero(live)).all()


def test_identical_networks_have_distance_zero_despite_equal_units():
    """Two hidden units read the same input, but different units read them."""
    weights = np.array([[1.0, 0, 0], [1, 0, 0], [0, 1, 0]]), np.array([[1.0, 0, 1], [0, 1, 0]])
    own = network(mlp(*weights), (3,))
    kernels = kernels_of(own.layers)
    for measure in MEASURES.values():
        assert (distances(alignment_of([own]), kernels, kernels, measure, np.random.default_rng(0)) == 0).all()


def test_units_that_are_equal_up_to_rounding_stay():
    draws = np.random.default_rng(0)
    alike = draws.normal(size=(3, 37))[draws.integers(0, 3, 16)] * (1 + 1e-15 * np.arange(16))[:, None]
    own = network(mlp(alike, draws.normal(size=(5, 16)) * (draws.random((5, 16)) < 0.4)), (37,))
    kernels = kernels_of(own.layers)
    for name in ("ned", "sasd"):
        assert (distances(alignment_of([own]), kernels, kernels, MEASURES[name], draws) == 0).all()


def test_equal_masks_are_told_apart_by_their_weights():
    first = np.array([[1.0, 0], [3, 0], [0, 2]]), np.array([[1.0, 0, 0], [0, 2, 3]])
    order = [1, 2, 0]
    own, other = network(mlp(*first), (2,)), network(mlp(first[0][order], first[1][:, order]), (2,))
    alignment = alignment_of([own, other])
    pair = kernels_of(own.layers), kernels_of(other.layers)
    assert (distances(alignment, *pair, MEASURES["ned"], np.random.default_rng(0)) == 0).all()


def mean_distance(found, first, second, measure, partners) -> float:
    aligned = Alignment("none", found).aligned(second, partners)
    return float(np.mean([measure.paired(rows(first[name]), rows(aligned[name])).ratios.mean() for name in first]))


@pytest.mark.parametrize("measure", MEASURES)
@pytest.mark.parametrize("name", PLANTED)
def test_tied_alignment_and_local_search_never_add_distance(name, measure):
    make_model, shape, _ = PLANTED[name]
    one, other = (network(masked(make_model(), 0.4, seed), shape) for seed in (1, 2))
    found, own = symmetries(one), MEASURES[measure]
    first, second = kernels_of(one.layers), kernels_of(other.layers)
    before = {layer: kernel.copy() for layer, kernel in second.items()}
    start = first_layer_first(found, first, second, own)
    assert mean_distance(found, first, second, own, start) < mean_distance(found, first, second, own, found.identity)
    better = tied(found, first, second, own, start)
    assert mean_distance(found, first, second, own, better) <= mean_distance(found, first, second, own, start)
    searched = local_search(found, first, second, own, found.identity, 400, np.random.default_rng(0))
    again = local_search(found, first, second, own, found.identity, 400, np.random.default_rng(0))
    assert mean_distance(found, first, second, own, searched) < mean_distance(found, first, second, own, found.identity)
    assert (searched == again).all() and not (searched == found.identity).all()
    for stream in found.streams:
        assert set(searched[stream]) == set(better[stream]) == set(stream)
    for layer, kernel in before.items():
        np.testing.assert_array_equal(kernel, second[layer], err_msg="the given weights stay")


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("measure", MEASURES)
def test_tied_alignment_rejects_matchings_that_add_distance(measure, seed):
    """The most alike channels of very sparse networks are not always the closest."""
    one, other = (network(masked(Blocks(), 0.05, 2 * seed + place), (2, 4, 4)) for place in (0, 1))
    found, own = symmetries(one), MEASURES[measure]
    first, second = kernels_of(one.layers), kernels_of(other.layers)
    start = first_layer_first(found, first, second, own)
    better = tied(found, first, second, own, start)
    assert mean_distance(found, first, second, own, better) <= mean_distance(found, first, second, own, start) + 1e-12


def test_a_stream_is_matched_by_all_layers_that_make_or_read_it():
    """The diagonal of its likenesses adds up to what these layers have in common."""
    one, other = (network(masked(Blocks(), 0.4, seed), (2, 4, 4)) for seed in (1, 2))
    found = symmetries(one)
    first, second = kernels_of(one.layers), kernels_of(other.layers)
    shared_parts = {
        name: ((first[name] != 0) & (second[name] != 0)).sum() / ((first[name] != 0).sum() + (second[name] != 0).sum())
        for name in first
    }
    streams = [("stem", "second", "first", "shortcut", "third"), ("first", "second"), ("fourth", "shortcut", "head")]
    for stream, names in zip(found.streams, streams, strict=False):
        total = likeness(found, first, second, MEASURES["ned"], found.identity, stream)
        assert np.trace(total) == pytest.approx(sum(shared_parts[name] for name in names))


def test_residual_networks_are_closer_if_all_layers_of_a_stream_count():
    one, other = (network(masked(Blocks(), 0.4, seed), (2, 4, 4)) for seed in (1, 2))
    pair = kernels_of(one.layers), kernels_of(other.layers)
    for measure in MEASURES.values():
        automatic, greedy = (
            distances(alignment_of([one], kind), *pair, measure, np.random.default_rng(0)).mean()
            for kind in ("auto", "first-layer-first")
        )
        assert automatic < greedy


@pytest.mark.parametrize("name", PLANTED)
def test_local_search_accepts_a_swap_if_and_only_if_the_mean_distance_decreases(name):
    """Against a search that computes all distances anew in each step."""
    make_model, shape, _ = PLANTED[name]
    one, other = (network(masked(make_model(), 0.4, seed), shape) for seed in (1, 2))
    found = symmetries(one)
    first, second = kernels_of(one.layers), kernels_of(other.layers)
    for measure in MEASURES.values():
        generator, partners = np.random.default_rng(7), found.identity
        sizes = np.array([len(stream) for stream in found.streams])
        for number in generator.choice(len(sizes), 60, p=sizes / sizes.sum()):
            places = found.streams[number][generator.choice(sizes[number], 2, replace=False)]
            swapped = partners.copy()
            swapped[places] = partners[places[::-1]]
            if mean_distance(found, first, second, measure, swapped) < mean_distance(
                found, first, second, measure, partners
            ) - 1e-12:  # fmt: skip
                partners = swapped
        searched = local_search(found, first, second, measure, found.identity, 60, np.random.default_rng(7))
        np.testing.assert_array_equal(searched, partners)
