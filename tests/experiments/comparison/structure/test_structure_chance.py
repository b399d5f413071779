"""Chance: expectations against all arrangements of a layer, and what each null model keeps."""

from collections.abc import Iterator
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from Experiments.comparison.null_models import NULL_MODELS, null_model
from Experiments.comparison.structure.chance import neighbour_probability, same_sign_probability
from Experiments.comparison.structure.patterns import common_patterns, pattern_ids
from Experiments.comparison.structure.positions import weight_counts
from Experiments.comparison.structure.statistics import expectations, layer_statistics
from Utils.errors import UserError

PLANES = arrays(np.int8, array_shapes(min_dims=4, max_dims=4, max_side=4), elements=st.sampled_from([-1, 0, 0, 1]))
VALUES = arrays(
    np.float64, array_shapes(min_dims=4, max_dims=4, max_side=4), elements=st.sampled_from([-2.0, -0.5, 0.0, 0.0, 1.5])
)


def arrangements(shape: tuple[int, ...], positive: int, negative: int) -> Iterator[np.ndarray]:
    cells = range(int(np.prod(shape)))
    for places in combinations(cells, positive + negative):
        for up in combinations(places, positive):
            signs = np.zeros(len(cells), np.int8)
            signs[list(places)] = -1
            signs[list(up)] = 1
            yield signs.reshape(shape)


@pytest.mark.parametrize(
    "shape, positive, negative",
    [((2, 1, 2, 2), 2, 1), ((1, 2, 2, 2), 3, 2), ((3, 1, 1, 3), 2, 2), ((2, 2, 1, 2), 1, 1), ((2, 1, 1, 4), 3, 3)],
)
def test_expectations_are_means_over_all_arrangements(shape, positive, negative):
    every = list(arrangements(shape, positive, negative))
    values = [layer_statistics(signs) for signs in every]
    expected = expectations(every[0])
    assert {"runs", "long_runs", "sign_agreement", "graph_score_4", "graph_score_8", "empty_kernels"} <= expected.keys()
    for name, expectation in expected.items():
        mean = np.nanmean([value[name] for value in values])
        np.testing.assert_allclose(expectation, mean, rtol=1e-10, err_msg=name)


def test_expected_counts_are_means_over_all_arrangements():
    every = list(arrangements((2, 1, 2, 2), 2, 1))
    patterns = np.stack([np.bincount(pattern_ids(signs).ravel(), minlength=16) for signs in every]).mean(0)
    for _, one in common_patterns(every[:1]).iterrows():
        assert one["expected"] == pytest.approx(patterns[int(one["pattern"])])
    kernels = np.stack([np.bincount(np.count_nonzero(signs, axis=(1, 2, 3)), minlength=5) for signs in every]).mean(0)
    table = weight_counts(every[0])
    for _, one in table[table["part"] == "unit"].iterrows():
        assert one["expected"] == pytest.approx(kernels[one["weights"]])


def test_neighbours_by_chance():
    assert neighbour_probability(3, 3, 4) == pytest.approx(4 / 9 * 2 / 8 + 4 / 9 * 3 / 8 + 1 / 9 * 4 / 8) == 1 / 3
    assert neighbour_probability(3, 3, 8) == pytest.approx(4 / 9 * 3 / 8 + 4 / 9 * 5 / 8 + 1 / 9 * 8 / 8)
    assert np.isnan(neighbour_probability(1, 1, 4)) and np.isnan(same_sign_probability(1, 1))
    full = layer_statistics(np.ones((2, 2, 3, 3), np.int8))
    assert full["neighbours_4"] == pytest.approx(1 / 3) and full["neighbours_8"] == pytest.approx(5 / 9)


@pytest.mark.parametrize("shape", [(1, 1, 1, 1), (2, 1, 1, 1), (1, 1, 1, 2), (3, 2, 1, 1)])
@pytest.mark.parametrize("filling", [0, 1])
def test_small_empty_and_full_layers(shape, filling):
    signs = np.full(shape, filling, np.int8)
    values, expected = layer_statistics(signs), expectations(signs)
    for name in expected.keys() - {
        "positive_share",
        "sign_agreement",
        "run_sign_ratio",
        "neighbours_4",
        "neighbours_8",
    }:
        assert values[name] == pytest.approx(expected[name]), name
    assert values["weights"] == filling * signs[0].size and values["runs"] == filling
    assert np.isnan(values["positive_share"]) == np.isnan(expected["positive_share"]) == (filling == 0)


def kept(name: str, weights: np.ndarray) -> list[np.ndarray]:
    """What a null model must keep."""
    return {
        "layer": [np.sort(weights.ravel())],
        "unit": [np.sort(weights.reshape(len(weights), -1), axis=1)],
        "position": [np.sort(weights, axis=0)],
        "kernel": [np.array(sorted(map(tuple, weights.reshape(-1, weights.shape[2] * weights.shape[3]))))],
        "sign": [weights != 0, np.sort(weights.ravel())],
        "fair-sign": [np.abs(weights)],
    }[name]


@given(VALUES, st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_null_models_keep_their_property(weights, seed):
    before = weights.copy()
    for name in NULL_MODELS:
        found = null_model(name)(weights, np.random.default_rng(seed))
        assert found.shape == weights.shape and found.dtype == weights.dtype
        assert (weights == before).all(), "the weights themselves stay"
        for own, expected in zip(kept(name, found), kept(name, weights), strict=True):
            np.testing.assert_array_equal(own, expected, err_msg=name)


def test_null_models_lose_the_rest():
    """Each changes weights, and loses what the others keep; positions and units are told apart."""
    generator = np.random.default_rng(0)
    weights = np.zeros((6, 4, 3, 3), np.int8)
    weights[:3, :, 0] = 1
    weights[3:5, :2] = -1
    weights[5, 3, 2, 2] = 1
    found = {name: null_model(name)(weights, generator) for name in NULL_MODELS}
    for name, own in found.items():
        for other in NULL_MODELS:
            same = all(np.array_equal(*pair) for pair in zip(kept(other, own), kept(other, weights), strict=True))
            implied = (
                other == name or (other == "layer" and name != "fair-sign") or (other, name) == ("fair-sign", "sign")
            )
            assert same == implied, (name, other)


def test_shuffled_layers_average_to_the_expectations():
    generator = np.random.default_rng(0)
    signs = np.sign(generator.normal(size=(8, 3, 3, 3)) * (generator.random((8, 3, 3, 3)) < 0.3)).astype(np.int8)
    draws = [layer_statistics(null_model("layer")(signs, generator)) for _ in range(300)]
    for name, expectation in expectations(signs).items():
        values = np.array([draw[name] for draw in draws])
        error = values.std(ddof=1) / len(values) ** 0.5
        assert abs(values.mean() - expectation) <= 4 * error + 1e-9, name


def test_unknown_null_model():
    with pytest.raises(UserError, match="unknown null model 'units'; did you mean 'unit'"):
        null_model("units")


@given(PLANES)
@settings(max_examples=30, deadline=None)
def test_expectations_are_finite_where_the_statistic_is_defined(signs):
    values = layer_statistics(signs)
    for name, expectation in expectations(signs).items():
        assert np.isfinite(expectation) or np.isnan(values[name]), name
