"""Distances of units: golden values, independent calculations, and what holds for all weights."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from scipy.spatial.distance import cdist

from Experiments.comparison.distances.measures import MEASURES, REDUCTIONS, measure, reductions
from Utils.errors import UserError

VALUES = st.sampled_from([-2.0, -1.0, -0.5, 0.0, 0.0, 0.0, 0.25, 1.0, 3.0])


@st.composite
def pairs(draw, count: int = 2) -> list[np.ndarray]:
    shape = draw(array_shapes(min_dims=2, max_dims=2, max_side=6))
    return [draw(arrays(np.float64, shape, elements=VALUES)) for _ in range(count)]


def distance(name: str, first, second) -> float:
    rows = [np.asarray(side, dtype=np.float64).reshape(1, -1) for side in (first, second)]
    between, paired = MEASURES[name].between(*rows).ratios[0, 0], MEASURES[name].paired(*rows).ratios[0]
    assert between == paired
    return between


def units(*positions: int) -> np.ndarray:
    return np.isin(np.arange(4), positions).astype(float)


def test_golden_units():
    assert distance("ned", units(0, 1, 2), units(1, 2, 3)) == 0.5
    assert distance("ned", units(0, 1), units(2, 3)) == 1
    assert distance("ned", units(), units()) == 0
    assert distance("ned", units(), units(2)) == 1
    assert distance("sasd", [1, -1, 0, 2], [1, 1, 0, -3]) == 2 / 3
    assert distance("sasd", units(), units()) == distance("maed", units(), units()) == 0


X = np.array([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]])
LAPLACIAN = np.array([[0, 1, 0], [1, -4, 1], [0, 1, 0]])


@pytest.mark.parametrize(
    "first, second, expected",
    [
        (X, -2 * X, (0, 1, 1)),
        (X, [[1, 2, 1], [0, 0, 0], [-1, -2, -1]], (0.5, 0.75, 0.75)),
        ([[100, 200, 300], [0, 0, 0], [400, 500, 600]], [[-1, -2, -3], [0, 0, 0], [4, 5, 6]], (0, 0.5, 0.98585573)),
        (100 * LAPLACIAN, [[0, -1, 0], [-1, 8, -1], [0, -1, 0]], (0, 1, 1)),
    ],
)
def test_golden_filters(first, second, expected):
    found = [distance(name, first, second) for name in ("ned", "sasd", "maed")]
    np.testing.assert_allclose(found, expected, atol=5e-9)


@given(pairs())
@settings(max_examples=60, deadline=None)
def test_position_distances_are_exact_rationals_of_sets(sides):
    first, second = sides
    ned, sasd = (MEASURES[name].between(first, second).ratios for name in ("ned", "sasd"))
    for row, one in enumerate(first):
        for column, other in enumerate(second):
            for matrix, code in ((ned, np.abs), (sasd, lambda values: values)):
                own, others = (
                    {(place, np.sign(code(side[place]))) for place in np.flatnonzero(side)} for side in (one, other)
                )
                union = {place for place, _ in own | others}
                expected = Fraction(len(union) - len(own & others), len(union)) if union else Fraction(0)
                assert matrix[row, column] == float(expected)


@given(pairs())
@settings(max_examples=40, deadline=None)
def test_absolute_errors_against_plain_sorting(sides):
    first, second = sides
    found = MEASURES["maed"].between(first, second)
    np.testing.assert_allclose(found.different, cdist(first, second, "cityblock"), atol=1e-12)
    for row, one in enumerate(first):
        for column, other in enumerate(second):
            opposite = zip(sorted(one), sorted(other, reverse=True), strict=True)
            worst = sum(abs(left - right) for left, right in opposite)
            assert found.most[row, column] == pytest.approx(worst, abs=1e-12)
            swapped = np.abs(one - np.random.default_rng(row).permutation(other)).sum()
            assert swapped <= worst + 1e-12, "no order is worse"


@given(pairs(3), st.floats(0.1, 10), st.integers(0, 99))
@settings(max_examples=60, deadline=None)
def test_metric_properties(sides, factor, seed):
    first, second, third = sides
    order = np.random.default_rng(seed).permutation(first.shape[1])
    ratios = {}
    for name, own in MEASURES.items():
        ratios[name] = own.between(first, second).ratios
        assert (ratios[name] >= 0).all() and (ratios[name] <= 1).all()
        assert (np.diag(own.between(first, first).ratios) == 0).all()
        np.testing.assert_allclose(own.between(second, first).ratios.T, ratios[name], atol=1e-12)
        np.testing.assert_allclose(own.paired(first, second).ratios, np.diag(ratios[name]), atol=1e-12)
        np.testing.assert_allclose(
            own.between(first[:, order], second[:, order]).ratios, ratios[name], atol=1e-12, err_msg="order of inputs"
        )
    for name in ("ned", "sasd"):
        assert (MEASURES[name].between(factor * first, second).ratios == ratios[name]).all()
        far, near = (MEASURES[name].between(*pair).ratios for pair in ((second, third), (first, third)))
        assert (near[:, None] <= ratios[name][:, :, None] + far + 1e-12).all(), "triangle inequality"
    assert (ratios["ned"] <= ratios["sasd"]).all()


@given(pairs(), st.integers(1, 5))
@settings(max_examples=40, deadline=None)
def test_shares_of_inputs_add_up(sides, cut):
    first, second = sides
    for own in MEASURES.values():
        whole = own.paired(first, second)
        parts = [own.shares(first[:, part], second[:, part]) for part in (slice(cut), slice(cut, None))]
        np.testing.assert_allclose(parts[0].different + parts[1].different, whole.different, atol=1e-12)


@pytest.mark.parametrize("seed", range(100))
def test_weights_in_opposite_orders_have_no_error_above_one(seed):
    """However the two sums are rounded."""
    draws = np.random.default_rng(seed)
    first, second = draws.normal(size=(1, 9)), np.empty((1, 9))
    second[0, first[0].argsort()] = np.sort(draws.normal(size=9))[::-1]
    for own in (MEASURES["maed"].between, MEASURES["maed"].paired):
        assert 1 - 1e-12 < own(first, second).ratios.item() <= 1


def test_reductions_by_hand():
    first = np.array([[1.0, 1, 0, 0], [0, 0, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0]])
    second = np.array([[1.0, 0, 1, 0], [0, 0, 0, 0], [1, 0, 0, 0], [0, 0, 0, 1]])
    expected = {"live": (2 / 3 + 0 + 1) / 3, "macro": (2 / 3 + 0 + 0 + 1) / 4, "micro": 3 / 5}
    found = dict(zip(REDUCTIONS, reductions(MEASURES["ned"], first, second), strict=True))
    assert found == pytest.approx(expected, abs=1e-15)


def test_units_with_equal_constants_are_live_and_alike():
    first, second = np.array([[2.0, 2], [0, 0], [2, 0]]), np.array([[2.0, 2], [0, 0], [0, 2]])
    assert reductions(MEASURES["maed"], first, second)[0] == 0.5, "the dead pair alone is left out"


@pytest.mark.parametrize("name", MEASURES)
def test_layers_without_weights_have_distance_zero(name):
    assert (reductions(MEASURES[name], np.zeros((3, 4)), np.zeros((3, 4))) == 0).all()


def test_a_name_that_is_no_measure():
    with pytest.raises(UserError, match="unknown measure 'nde'; did you mean 'ned'"):
        measure("nde")
