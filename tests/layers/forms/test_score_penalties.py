"""Penalties of scores: values by hand, and derivatives by automatic differentiation in double precision."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from Experiments.supermask import PENALTIES
from Layers.forms.score_penalties import TERMS, ScorePenalty

EXPONENTS = st.sampled_from((0.5, 1.0, 1.5, 2.0, 3.0))


def reference(kind: str, p: Tensor, w: Tensor, exponents: tuple[float, float]) -> Tensor:
    """The sums as they are published, for scores in [0, 1]."""
    a, b = exponents
    return {
        "l2": lambda: (p**2).sum(),
        "l1": lambda: p.abs().sum(),
        "l1-l2": lambda: (p.abs() + p**2).sum(),
        "variance": lambda: (p**a * (1 - p) ** b).sum(),
        "weighted-variance": lambda: (w**2 * p * (1 - p)).sum(),
        "entropy": lambda: (-p * torch.log(p) - (1 - p) * torch.log(1 - p)).sum(),
    }[kind]()


def gradients(penalty: ScorePenalty, p: Tensor, w: Tensor) -> Tensor:
    """What the penalty adds to gradients that are 1."""
    scores = [part.clone().requires_grad_() for part in p.split(2)]
    for score in scores:
        score.grad = torch.ones_like(score)
    penalty.add_gradients(scores, w.split(2))
    return torch.cat([score.grad for score in scores if score.grad is not None]) - 1


@given(
    kind=st.sampled_from(PENALTIES), strength=st.sampled_from((1e-4, 2.0)), exponents=st.tuples(EXPONENTS, EXPONENTS),
    points=st.lists(st.tuples(st.floats(1e-5, 1 - 1e-5), st.floats(-3, 3)), min_size=1, max_size=5),
)  # fmt: skip
@settings(max_examples=300, deadline=None)
def test_derivative_and_value_within_the_interval(kind, strength, exponents, points):
    p, w = torch.tensor(points, dtype=torch.float64).unbind(1)
    penalty = ScorePenalty(kind, strength, exponents)
    score = p.clone().requires_grad_()
    value = strength * reference(kind, score, w, exponents)
    value.backward()
    assert score.grad is not None
    torch.testing.assert_close(gradients(penalty, p, w), score.grad, rtol=1e-9, atol=1e-12)
    assert penalty.value(p.split(2), w.split(2)) == pytest.approx(value.item(), rel=1e-12, abs=1e-15)


@given(kind=st.sampled_from(("l2", "l1", "l1-l2")), points=st.lists(st.floats(-3, 3), min_size=1, max_size=5))
@settings(max_examples=60, deadline=None)
def test_norms_treat_negative_scores_alike(kind, points):
    p = torch.tensor(points, dtype=torch.float64)
    penalty, score = ScorePenalty(kind, 0.5), p.clone().requires_grad_()
    (0.5 * reference(kind, score, p, (1, 1))).backward()
    torch.testing.assert_close(gradients(penalty, p, p), score.grad, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(gradients(penalty, -p, p), -gradients(penalty, p, p), rtol=1e-12, atol=1e-12)
    assert penalty.value([p], [p]) == pytest.approx(penalty.value([-p], [p]))


HAND = torch.tensor([-0.5, 0.0, 0.25, 0.5, 1.0, 1.5], dtype=torch.float64)
WEIGHT = torch.tensor([1.0, 2.0, -2.0, 2.0, 3.0, 1.0], dtype=torch.float64)
QUARTER = math.log(4) / 4 + 0.75 * math.log(4 / 3)


@pytest.mark.parametrize(("penalty", "values", "slopes"), [
    (ScorePenalty("l2", 1), [0.25, 0, 0.0625, 0.25, 1, 2.25], [-1, 0, 0.5, 1, 2, 3]),
    (ScorePenalty("l1", 1), [0.5, 0, 0.25, 0.5, 1, 1.5], [-1, 0, 1, 1, 1, 1]),
    (ScorePenalty("l1-l2", 1), [0.75, 0, 0.3125, 0.75, 2, 3.75], [-2, 0, 1.5, 2, 3, 4]),
    (ScorePenalty("variance", 1), [0, 0, 0.1875, 0.25, 0, 0], [0, 1, 0.5, 0, -1, 0]),
    (ScorePenalty("variance", 1, (2, 1)), [0, 0, 0.046875, 0.125, 0, 0], [0, 0, 0.3125, 0.25, -1, 0]),
    (ScorePenalty("variance", 1, (1, 3)), [0, 0, 0.10546875, 0.0625, 0, 0], [0, 1, 0, -0.25, 0, 0]),
    (ScorePenalty("weighted-variance", 1), [0, 0, 0.75, 1, 0, 0], [0, 4, 2, 0, -9, 0]),
    (ScorePenalty("entropy", 1), [0, 0, QUARTER, math.log(2), 0, 0], [0, 0, math.log(3), 0, 0, 0]),
])  # fmt: skip
def test_values_and_slopes_by_hand(penalty, values, slopes):
    """Outside of [0, 1], the penalties that vanish at both ends are 0, and pull at nothing."""
    term = penalty.term
    torch.testing.assert_close(term.value(HAND, WEIGHT), torch.tensor(values, dtype=torch.float64))
    torch.testing.assert_close(term.slope(HAND, WEIGHT), torch.tensor(slopes, dtype=torch.float64), rtol=1e-12, atol=0)
    assert penalty.value([HAND], [WEIGHT]) == pytest.approx(sum(values))


@pytest.mark.parametrize("kind", PENALTIES)
@pytest.mark.parametrize("exponents", [(0.5, 0.5), (1.0, 2.0)])
def test_slopes_are_finite_at_the_ends(kind, exponents):
    p = torch.tensor([-1.0, 0.0, 1e-30, 1e-8, 0.5, 1 - 2**-24, 1.0, 2.0])
    penalty = ScorePenalty(kind, 1.0, exponents)
    assert gradients(penalty, p, torch.ones_like(p)).abs().max() <= 1000
    assert math.isfinite(penalty.value([p], [torch.ones_like(p)]))


def test_strength_scales_value_and_derivative():
    for kind in PENALTIES:
        weak, strong = ScorePenalty(kind, 0.1), ScorePenalty(kind, 0.3)
        torch.testing.assert_close(3 * gradients(weak, HAND, WEIGHT), gradients(strong, HAND, WEIGHT))
        assert 3 * weak.value([HAND], [WEIGHT]) == pytest.approx(strong.value([HAND], [WEIGHT]))
    assert set(TERMS) == set(PENALTIES)
