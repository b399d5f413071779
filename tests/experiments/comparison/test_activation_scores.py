"""Streamed correlations, matchings and CKA of activations against few-line calculations."""

from itertools import permutations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from Experiments.comparison.activations.cka import linear_cka, streamed_cka
from Experiments.comparison.activations.matching import match_scores, matched, one_to_one, semi
from Experiments.comparison.activations.moments import Moments


def pearson(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    width = first.shape[1]
    return np.corrcoef(first, second, rowvar=False)[:width, width:]


def hsic(first: np.ndarray, second: np.ndarray, unbiased: bool) -> float:
    """Kernels of all samples, as the papers write them."""
    n = len(first)
    k, l = first @ first.T, second @ second.T  # noqa: E741
    if not unbiased:
        h = np.eye(n) - 1 / n
        return np.trace(k @ h @ l @ h)
    np.fill_diagonal(k, 0)
    np.fill_diagonal(l, 0)
    one = np.ones(n)
    return (
        np.trace(k @ l) + (one @ k @ one) * (one @ l @ one) / ((n - 1) * (n - 2)) - 2 / (n - 2) * (one @ k @ l @ one)
    ) / (n * (n - 3))


def cka(first: np.ndarray, second: np.ndarray, unbiased: bool) -> float:
    own = hsic(first, first, unbiased) * hsic(second, second, unbiased)
    return hsic(first, second, unbiased) / own**0.5


def streamed(parts: list[np.ndarray], size: int) -> Moments:
    moments = Moments([part.shape[1] for part in parts])
    for start in range(0, len(parts[0]), size):
        moments.add([torch.as_tensor(part[start : start + size]) for part in parts])
    return moments


@given(seed=st.integers(0, 10**6), size=st.integers(1, 50), offset=st.sampled_from([0, 1, -1e3, 1e6]))
@settings(max_examples=40, deadline=None)
def test_streamed_correlation_equals_that_of_the_whole_batch(seed, size, offset):
    random = np.random.default_rng(seed)
    first, second = random.normal(size=(50, 4)), random.normal(size=(50, 3))
    second[:, 0] += first[:, 1]
    drift = offset * np.linspace(1, 1.001, 50)[:, None]  # the first batch is not like the others
    first, second = first + offset, second * 10 + drift
    moments = streamed([first, second], size)
    tolerance = 1e-10 if abs(offset) < 1e6 else 1e-8  # numpy's own two passes lose digits there
    np.testing.assert_allclose(moments.between(0, 1), pearson(first, second), atol=tolerance)
    np.testing.assert_allclose(moments.between(0, 0), pearson(first, first), atol=tolerance)
    np.testing.assert_allclose(moments.between(0, 1), moments.between(1, 0).T, rtol=1e-12)


def test_large_offsets_do_not_cancel():
    random = np.random.default_rng(0)
    small = random.integers(-50, 50, (400, 5)).astype(float)
    moved = small + 2.0**40  # exact in float64, whose squares are not
    np.testing.assert_allclose(streamed([moved], 64).between(0, 0), pearson(small, small), atol=1e-12)


@pytest.mark.parametrize("unbiased", [False, True])
@pytest.mark.parametrize("size", [60, 17, 1])
def test_cka_is_that_of_the_papers(unbiased, size):
    random = np.random.default_rng(1)
    first, other = random.normal(size=(60, 7)) + 3, random.normal(size=(60, 5)) - 100
    second = first @ random.normal(size=(7, 4)) + random.normal(size=(60, 4))
    found = streamed_cka(streamed([first, second, other], size), unbiased)
    parts = [first, second, other]
    expected = [[cka(one, two, unbiased) for two in parts] for one in parts]
    np.testing.assert_allclose(found, expected, atol=1e-9)
    assert linear_cka(first, second, unbiased) == pytest.approx(cka(first, second, unbiased))


def test_cka_ignores_rotations_and_scale_and_only_the_biased_one_grows_with_the_number_of_units():
    random = np.random.default_rng(2)
    first, unrelated = random.normal(size=(80, 60)), random.normal(size=(80, 60))
    rotation, _ = np.linalg.qr(random.normal(size=(60, 60)))
    for unbiased in (False, True):
        assert linear_cka(first, 5 * first @ rotation + 2, unbiased) == pytest.approx(1)
    assert linear_cka(first, unrelated) > 0.3 and abs(linear_cka(first, unrelated, unbiased=True)) < 0.05


def test_cka_of_a_constant_layer_is_unknown():
    random = np.random.default_rng(3)
    assert np.isnan(linear_cka(random.normal(size=(20, 3)), np.full((20, 3), 0.1)))
    assert np.isnan(linear_cka(*random.normal(size=(2, 3, 4)), unbiased=True)), "three samples"


def test_constant_units_are_dead_and_correlate_with_nothing():
    x = np.random.default_rng(4).normal(size=(300, 4)).astype(np.float32)
    x[:, 1], x[:, 2] = 0.1, 0
    x[::2, 1] = np.nextafter(np.float32(0.1), np.float32(1))  # equal inputs, other place in the batch
    moments = streamed([x, x], 7)
    assert moments.live(0).tolist() == [True, False, False, True]
    assert (moments.between(0, 1)[1:3] == 0).all() and (moments.between(0, 1)[:, 1:3] == 0).all()
    np.testing.assert_allclose(np.diag(moments.between(0, 1))[[0, 3]], 1)
    scores = match_scores(moments.between(0, 1), moments.live(0), moments.live(1), within=False)
    assert scores.one_to_one == pytest.approx(0.5) and scores.live_one_to_one == pytest.approx(1)


@given(seed=st.integers(0, 10**6), rows=st.integers(1, 9), columns=st.integers(1, 9))
@settings(max_examples=60, deadline=None)
def test_matching_properties(seed, rows, columns):
    random = np.random.default_rng(seed)
    first, second = random.normal(size=(30, rows)), random.normal(size=(30, columns))
    correlation = streamed([first, second], 8).between(0, 1)
    partners, best = one_to_one(correlation), semi(correlation)
    known = partners[partners >= 0]
    assert len(set(known)) == len(known) == min(rows, columns)
    assert (matched(correlation, best) >= correlation.max(1)).all()
    if rows <= columns:
        assert matched(correlation, best).mean() >= matched(correlation, partners).mean()
        swapped = one_to_one(correlation.T)
        assert np.nansum(matched(correlation.T, swapped)) == pytest.approx(matched(correlation, partners).sum())
    scaled = first * random.uniform(0.1, 9, rows) + random.normal(size=rows)
    np.testing.assert_allclose(streamed([scaled, second], 8).between(0, 1), correlation, atol=1e-9)


def test_the_one_to_one_matching_is_the_best_permutation():
    correlation = np.random.default_rng(5).uniform(-1, 1, (5, 5))
    best = max(permutations(range(5)), key=lambda order: correlation[np.arange(5), order].sum())
    assert one_to_one(correlation).tolist() == list(best)
    off = [order for order in permutations(range(5)) if all(a != b for a, b in enumerate(order))]
    best = max(off, key=lambda order: correlation[np.arange(5), order].sum())
    assert one_to_one(correlation, within=True).tolist() == list(best)
    assert all(semi(np.eye(5), within=True) != np.arange(5))
    assert one_to_one(np.eye(1), within=True).tolist() == semi(np.eye(1), within=True).tolist() == [-1]
