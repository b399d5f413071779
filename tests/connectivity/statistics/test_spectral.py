"""Singular values and Ramanujan bounds of layers against graphs whose spectra are known, and against networkx."""

import math

import networkx as nx
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from Layers import MaskedConv2d, MaskedLinear, Masks
from Utils.connectivity.statistics import spectral
from Utils.connectivity.statistics.spectral import (
    SPECTRAL_COLUMNS,
    difference_of_bound,
    imdb,
    largest_singular_values,
    spectral_means,
    spectral_table,
)


def random_mask(units: int, inputs: int, density: float, seed: int) -> np.ndarray:
    return (np.random.default_rng(seed).random((units, inputs)) < density).astype(float)


@pytest.mark.parametrize(("units", "inputs"), [(1, 1), (1, 5), (2, 2), (3, 7), (40, 30), (500, 700)])
def test_a_complete_bipartite_graph(units, inputs):
    """K(m, n) has one positive eigenvalue, the root of m n."""
    first, second = largest_singular_values(np.ones((units, inputs)))
    assert first == pytest.approx(math.sqrt(units * inputs)) and second == pytest.approx(0, abs=1e-9)
    expected = math.sqrt(inputs - 1) + math.sqrt(units - 1)
    assert difference_of_bound(np.ones((units, inputs))) == pytest.approx(expected, abs=1e-9)
    is_counted = inputs >= 3 and units >= 3
    assert imdb(np.ones((units, inputs))) == pytest.approx(expected if is_counted else math.nan, abs=1e-9, nan_ok=True)


@given(st.integers(1, 6), st.integers(1, 6), st.floats(0.1, 1), st.integers(0, 1000))
def test_singular_values_are_eigenvalues_of_the_graph(units, inputs, density, seed):
    mask = random_mask(units, inputs, density, seed)
    graph = nx.Graph()
    graph.add_nodes_from(range(units + inputs))
    graph.add_edges_from((unit, units + entry) for unit, entry in np.argwhere(mask))
    eigenvalues = np.sort(nx.adjacency_spectrum(graph).real)[::-1]
    largest = [max(0.0, value) for value in eigenvalues[:2]]
    if min(units, inputs) == 1:
        largest[1] = 0.0
    np.testing.assert_allclose(largest_singular_values(mask), largest, atol=1e-6)


@pytest.mark.parametrize("density", [0.01, 0.3])
def test_the_iteration_agrees_with_the_full_decomposition(density, monkeypatch):
    """Of sparse and of dense matrices, and of a graph in two equal parts, whose largest value appears twice."""
    matrix = random_mask(300, 400, density, 0) * np.random.default_rng(1).normal(size=(300, 400))
    twice = np.kron(np.eye(2), random_mask(60, 50, density, 2))
    for example in (matrix, twice):
        expected = pytest.approx(list(np.linalg.svd(example, compute_uv=False)[:2]))
        for cost in (math.inf, 0):
            monkeypatch.setattr(spectral, "_DENSE_COST", cost)
            assert list(largest_singular_values(example)) == expected


def test_a_regular_random_graph_is_nearly_ramanujan():
    """The second eigenvalue of a random d-regular bipartite graph is at most 2 sqrt(d - 1) + o(1)."""
    rng, size, degree = np.random.default_rng(0), 400, 6
    mask = np.zeros((size, size))
    for _ in range(degree):
        mask[np.arange(size), rng.permutation(size)] = 1
    first, _ = largest_singular_values(mask)
    assert first == pytest.approx(degree, rel=0.02) and abs(difference_of_bound(mask)) < 0.25


def test_imdb_by_hand():
    """Inputs of degree 3 and of degree 4 make one subgraph each; those of degree 2, and a single input, none."""
    mask = np.zeros((6, 12))
    mask[:3, :4] = 1  # K(3, 4)
    mask[2:6, 4:8] = 1  # K(4, 4)
    mask[:2, 8:11] = 1  # degree 2
    mask[:5, 11] = 1  # degree 5, once
    three, four = math.sqrt(2) + math.sqrt(3), 2 * math.sqrt(3)
    assert imdb(mask) == pytest.approx((three + four) / 2)
    assert math.isnan(imdb(mask[:, 8:])) and math.isnan(imdb(np.zeros((3, 3))))


def test_the_table_of_a_network():
    model = nn.Sequential(
        MaskedConv2d(2, 3, 3), nn.Flatten(), MaskedLinear(12, 4), MaskedLinear(4, 2), MaskedLinear(2, 2)
    )
    with torch.no_grad():
        model[0].weight_mask.copy_(torch.rand(3, 2, 3, 3) < 0.6)
        model[4].weight_mask.zero_()
    table = spectral_table(model)
    assert tuple(table) == SPECTRAL_COLUMNS and list(table["layer"]) == [f"{i}.weight" for i in (0, 2, 3, 4)]
    mask = model[0].weight_mask.reshape(3, 18).double()
    for row, matrix in ((0, mask), (1, torch.ones(4, 12, dtype=torch.float64))):
        assert list(table.loc[row, ["sigma1", "sigma2"]]) == pytest.approx(
            torch.linalg.svdvals(matrix)[:2].tolist(), abs=1e-9
        )
    weighted = torch.linalg.svdvals(mask * model[0].weight.detach().abs().reshape(3, 18))
    assert list(table.loc[0, ["weighted_sigma1", "weighted_sigma2", "weighted_spectral_gap"]]) == pytest.approx(
        [*weighted[:2].tolist(), float(weighted[0] - weighted[1])], rel=1e-6
    )
    assert list(table.iloc[3, 1:7]) == [0] * 6 and table.iloc[3, 7:].isna().all()
    means = spectral_means(table)
    assert means["mean_sigma1"] == pytest.approx(table["sigma1"].mean())
    assert means["mean_difference_of_bound"] == pytest.approx(table["difference_of_bound"][:3].mean())


def test_other_masks_than_the_model_s():
    model = nn.Sequential(MaskedLinear(5, 4))
    masks = Masks({"0.weight": torch.eye(4, 5, dtype=torch.bool)})
    table = spectral_table(model, masks)
    assert table["sigma1"][0] == table["sigma2"][0] == 1 and bool(model[0].weight_mask.all())
    assert table["difference_of_bound"][0] == -1
