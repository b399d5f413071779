"""Freezing of entries: exact counts, the lowest absolute scores, and chance for ties alone."""

import itertools
import math
from fractions import Fraction

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from Layers import Masks, mask_model
from Layers.forms.rounding import Threshold
from Layers.forms.supermask import Supermask
from Pruners.freezing import freeze_weakest
from Pruners.schedules.freezing import FreezingSchedule, counts
from Utils.config.target import Target

EXAMPLE = torch.tensor([0.9, 0.1, 0.6, 0.4, 0.2, 0.8, 0.5, 0.3])


def freeze(scores: dict, rate: float, free: dict | None = None, seed: int = 0, per_layer: bool = False) -> Masks:
    scores = {name: torch.as_tensor(score) for name, score in scores.items()}
    masks = {name: torch.ones_like(score, dtype=torch.bool) for name, score in scores.items()} if free is None else free
    return freeze_weakest(scores, Masks(masks), rate, torch.Generator().manual_seed(seed), per_layer)


def frozen(left: Masks) -> list[float]:
    return EXAMPLE[~left["a"]].tolist()


def test_published_example():
    assert freeze({"a": EXAMPLE}, 0.25)["a"].tolist() == [True, False, True, True, False, True, True, True]
    assert freeze({"a": -EXAMPLE}, 0.25) == freeze({"a": EXAMPLE}, 0.25), "absolute scores count"
    assert sorted(frozen(freeze({"a": EXAMPLE}, 0.26))) == pytest.approx([0.1, 0.2, 0.3]), "rounded up"


def test_published_ties_are_frozen_one_by_one():
    """The program freezes both scores of 0.2, though ceil(3 / 3) is 1."""
    seen = {tuple(freeze({"a": [0.2, 0.2, 0.5]}, 1 / 3, seed=seed)["a"].tolist()) for seed in range(20)}
    assert seen == {(False, True, True), (True, False, True)}


def test_layers_compete_unless_each_has_its_share():
    scores = {"low": [0.1, 0.2, 0.3, 0.4], "high": [[0.6, 0.7], [0.8, 0.9]]}
    left = freeze(scores, 0.5)
    assert (left["low"].sum(), left["high"].sum()) == (0, 4)
    left = freeze(scores, 0.5, per_layer=True)
    assert left["low"].tolist() == [False, False, True, True]
    assert left["high"].tolist() == [[False, False], [True, True]]
    uneven = {"a": torch.rand(3), "b": torch.rand(5)}
    assert [int(mask.sum()) for mask in freeze(uneven, 0.5, per_layer=True).values()] == [1, 2], "rounded per layer"
    assert freeze(uneven, 0.5).kept == 4


VALUES = st.sampled_from((0.0, -0.0, 0.0, 0.1, -0.1, 0.25, 0.5, 1.0, 1e-30, -3e-9))


@st.composite
def cases(draw):
    """Scores of up to three matrices, many of them 0 or equal, and what is free."""
    shapes = draw(st.lists(st.tuples(st.integers(1, 4), st.integers(1, 4)), min_size=1, max_size=3))
    scores, free = {}, {}
    for number, (rows, columns) in enumerate(shapes):
        size = rows * columns
        scores[f"layer{number}"] = torch.tensor(draw(st.lists(VALUES, min_size=size, max_size=size))).reshape(rows, -1)
        free[f"layer{number}"] = torch.tensor(draw(st.lists(st.booleans(), min_size=size, max_size=size))).reshape(
            rows, -1
        )
    return scores, Masks(free)


@given(
    case=cases(), rate=st.sampled_from(("0", "0.01", "0.1", "0.25", "0.5", "0.58", "0.9", "1")), seed=st.integers(0, 9),
    per_layer=st.booleans(), is_transposed=st.booleans(),
)  # fmt: skip
@settings(max_examples=150, deadline=None)
def test_brute_force(case, rate, seed, per_layer, is_transposed):
    scores, free = case
    if is_transposed:
        scores = {name: score.t().contiguous().t() for name, score in scores.items()}
    before = {name: score.clone() for name, score in scores.items()}
    left = freeze(scores, float(rate), free, seed, per_layer)
    for names in [[name] for name in free] if per_layer else [list(free)]:
        sizes = [abs(x) for name in names for x in scores[name][free[name]].tolist()]
        out = [abs(x) for name in names for x in scores[name][free[name] & ~left[name]].tolist()]
        kept = [abs(x) for name in names for x in scores[name][left[name]].tolist()]
        count = math.ceil(Fraction(rate) * len(sizes))
        assert sorted(out) == sorted(sizes)[:count]
        assert sorted(kept) == sorted(sizes)[count:]
    assert (left - free).kept == 0, "what is frozen stays frozen"
    assert all(torch.equal(before[name], scores[name]) for name in scores)
    assert list(left) == list(free)
    assert {name: mask.shape for name, mask in left.items()} == {name: mask.shape for name, mask in free.items()}
    assert left == freeze(scores, float(rate), free, seed, per_layer)


@pytest.mark.parametrize("per_layer", [False, True])
def test_chance_decides_ties_alone(per_layer):
    scores = {"a": torch.cat([torch.zeros(40), torch.rand(60) + 0.1]), "b": torch.rand(50)}
    for rate, is_tied in ((0.2, True), (0.6, False)):
        draws = [freeze(scores, rate, seed=seed, per_layer=per_layer) for seed in range(4)]
        assert all((draws[0] != draw) == is_tied for draw in draws[1:])
        assert all(draw["a"][40:].equal(draws[0]["a"][40:]) and draw["b"].equal(draws[0]["b"]) for draw in draws)
    each = torch.stack([freeze({"a": torch.zeros(20)}, 0.25, seed=seed)["a"] for seed in range(400)])
    assert (each.sum(1) == 15).all()
    assert (each.double().mean(0) - 0.75).abs().max() < 0.1, "all ties have the same chance"


@pytest.mark.parametrize("is_zero", [False, True])
def test_a_search_leaves_the_published_number(is_zero):
    """Counts of the program's stored networks with FC, however many scores its clamp has made equal."""
    schedule = FreezingSchedule(25, 2)
    rate, generator = schedule.rate(Target.of("0.98")), torch.Generator().manual_seed(0)
    shapes = {"1": (100, 784), "2": (100, 100), "3": (100, 100), "4": (100, 100), "5": (100, 100), "6": (10, 100)}
    free = Masks({name: torch.ones(shape, dtype=torch.bool) for name, shape in shapes.items()})
    left = [free]
    for _ in range(schedule.events):
        scores = {name: torch.rand(shape) * (torch.rand(shape) > 0.99 * is_zero) for name, shape in shapes.items()}
        left.append(freeze_weakest(scores, left[-1], rate, generator))
    assert [masks.kept for masks in left[1:]] == counts(119_400, rate, schedule.events)
    assert left[-1].kept == 2387
    assert all((after - before).kept == 0 for before, after in itertools.pairwise(left))


def test_scores_that_a_search_clamps_count_as_clamped():
    model = mask_model(nn.Linear(4, 1, bias=False))
    scores = {"weight": torch.tensor([[-0.9, 0.3, 0.6, 1.8]])}
    form = Supermask(scores, Threshold(clamps_forward=True))
    with form.holding(model):
        assert form.current_values()["weight"].tolist() == [[0, pytest.approx(0.3), pytest.approx(0.6), 1]]
        left = freeze_weakest(form.current_values(), form.current_free(), 0.25, torch.Generator())
    assert left["weight"].tolist() == [[False, True, True, True]]
