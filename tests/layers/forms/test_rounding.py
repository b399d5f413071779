"""Rounding rules: counts, ties and thresholds by hand and by sorting in Python."""

from decimal import Decimal

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from Layers.forms.rounding import GlobalTop, LayerTop, Rounding, Threshold
from Utils.config.target import Target

SIZES = st.sampled_from((0.0, -0.0, 0.25, -0.25, 0.5, 1.0, -1.0, 1e-9, -2e-9, 3e-9, 1e-30, -2e-30, 0.1, 0.1 + 1e-8))


def rounded(rule: Rounding, scores: list[Tensor], free: list[Tensor] | None = None) -> list[list[float]]:
    """The factors of scores, flat."""
    free = free or [torch.ones_like(score) for score in scores]
    out = [torch.full_like(score, torch.nan) for score in scores]
    rule.round(scores, free, out)
    return [factor.flatten().tolist() for factor in out]


def kept_by_sorting(values: list[list[float]], free: list[list[bool]], count: int) -> list[list[float]]:
    """1 for the `count` largest absolute values of all lists that are free; of equal ones the earlier."""
    entries = [(i, j) for i, flags in enumerate(free) for j, is_free in enumerate(flags) if is_free]
    kept = set(sorted(entries, key=lambda entry: -abs(values[entry[0]][entry[1]]))[:count])
    return [[float((i, j) in kept) for j in range(len(row))] for i, row in enumerate(values)]


@st.composite
def cases(draw):
    """Scores of up to three parameters in single precision, with many ties and tiny differences, and what is free."""
    lengths = draw(st.lists(st.integers(1, 8), min_size=1, max_size=3))
    values = [draw(st.lists(SIZES, min_size=n, max_size=n)) for n in lengths]
    free = [draw(st.lists(st.booleans(), min_size=n, max_size=n)) for n in lengths]
    return [torch.tensor(row) for row in values], free


@given(case=cases(), data=st.data())
@settings(max_examples=200, deadline=None)
def test_largest_scores_are_those_of_a_sort(case, data):
    scores, free = case
    values, is_free = [score.tolist() for score in scores], [torch.tensor(flags).float() for flags in free]
    count = data.draw(st.integers(0, sum(map(len, values))))
    assert rounded(GlobalTop(count), scores, is_free) == kept_by_sorting(values, free, count)
    counts = [data.draw(st.integers(0, len(row))) for row in values]
    layers = zip(values, free, counts, strict=True)
    expected = [kept_by_sorting([row], [flags], n)[0] for row, flags, n in layers]
    assert rounded(LayerTop(counts), scores, is_free) == expected


def test_scores_of_edge_popup_are_compared_with_all_their_digits():
    """The initial scores of a layer with 784 inputs lie so close together that a sum with 1 would make some equal."""
    scores = (2 * torch.rand(300, 784) - 1) / 28
    for count in (235, 4704, 23520):
        order = scores.abs().double().flatten().sort(descending=True, stable=True).indices
        expected = torch.zeros(scores.numel()).index_fill_(0, order[:count], 1).tolist()
        assert rounded(LayerTop([count]), [scores]) == rounded(GlobalTop(count), [scores]) == [expected]
    assert (scores.abs() + 1).unique().numel() < scores.abs().unique().numel()


@pytest.mark.parametrize(("density", "zeros"), [("0.3", 7), ("0.9", 1), ("1", 0), ("0.05", 9), ("0.29", 7)])
def test_number_of_zeros_is_exact(density, zeros):
    """Of 10 scores, the program's int((1 - 0.9) * 10) prunes none; a target is a decimal number."""
    kept = Target(1 - Decimal(density)).kept(10)
    scores = torch.rand(2, 5) - 0.5
    for rule in (LayerTop([kept]), GlobalTop(kept)):
        assert rounded(rule, [scores])[0].count(0) == zeros
        lowest = scores.abs().flatten().sort().indices[:zeros]
        assert all(rounded(rule, [scores])[0][i] == 0 for i in lowest.tolist())


def test_ties_go_to_the_earlier():
    scores = [torch.tensor([0.5, -0.5, 0.5]), torch.tensor([[-0.5, 0.5]])]
    assert rounded(LayerTop([2, 1]), scores) == [[1, 1, 0], [1, 0]]
    assert rounded(GlobalTop(4), scores) == [[1, 1, 1], [1, 0]]
    assert rounded(GlobalTop(2), scores, [torch.tensor([0.0, 1, 0]), torch.ones(1, 2)]) == [[0, 1, 0], [1, 0]]


def test_frozen_entries_are_never_kept():
    scores, free = [torch.tensor([9.0, 0.0, 0.0, 3.0])], [torch.tensor([0.0, 1, 1, 0])]
    for count, expected in ((1, [0, 1, 0, 0]), (2, [0, 1, 1, 0]), (3, [0, 1, 1, 0]), (4, [0, 1, 1, 0])):
        assert rounded(LayerTop([count]), scores, free) == rounded(GlobalTop(count), scores, free) == [expected]
    assert rounded(LayerTop([9]), scores, free) == rounded(GlobalTop(9), scores, free) == [[0, 1, 1, 0]]


P = torch.tensor([-0.5, 0.0, 0.25, 0.5, 0.5 + 1e-7, 0.75, 1.0, 1.5])


@pytest.mark.parametrize(("rule", "expected"), [
    (Threshold(), [0, 0, 0, 0, 1, 1, 1, 1]),
    (Threshold(0.75), [0, 0, 0, 0, 0, 0, 1, 1]),
    (Threshold(0.0), [0, 0, 1, 1, 1, 1, 1, 1]),
    (Threshold(clamps_forward=True), [0, 0, 0, 0, 1, 1, 1, 1]),
    (Threshold(is_soft=True), [0, 0, 0.25, 0.5, P[4].item(), 0.75, 1, 1]),
])  # fmt: skip
def test_scores_above_the_threshold_are_kept(rule, expected):
    assert rounded(rule, [P]) == [expected]
    free = torch.tensor([1.0, 0.0]).repeat(4)
    assert rounded(rule, [P], [free]) == [[a * b for a, b in zip(expected, free.tolist(), strict=True)]]


@pytest.mark.parametrize(("rule", "projected", "slopes"), [
    (Threshold(), [0, 0, 0.25, 0.5, P[4].item(), 0.75, 1, 1], [1] * 8),
    (Threshold(is_soft=True), [0, 0, 0.25, 0.5, P[4].item(), 0.75, 1, 1], [1] * 8),
    (Threshold(clamps_forward=True), P.tolist(), [0, 1, 1, 1, 1, 1, 1, 0]),
    (LayerTop([2]), P.tolist(), [-1, 0, 1, 1, 1, 1, 1, 1]),
    (GlobalTop(2), P.tolist(), [-1, 0, 1, 1, 1, 1, 1, 1]),
])  # fmt: skip
def test_projection_and_slope(rule, projected, slopes):
    score, weight, free, out = P.clone(), torch.arange(1.0, 9), torch.tensor([1.0, 1, 1, 1, 1, 1, 0, 1]), P.clone()
    rule.slope(score, weight, free, out)
    assert out.tolist() == [s * w * f for s, w, f in zip(slopes, weight.tolist(), free.tolist(), strict=True)]
    assert score.equal(P)
    rule.project(score)
    assert score.tolist() == projected
