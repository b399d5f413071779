"""Scoring and pruning in rounds: counts of every schedule, orders against plain Python, who may come back."""

import copy
import itertools

import pytest
import torch
from conftest import make_batches
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from scored import criterion_scores, network
from torch import nn

from Layers import MaskedLinear, prunable
from Pruners import make_pruner, registry
from Pruners.allocation import allocate
from Pruners.criteria.snip import force, snip
from Pruners.schedules import rounds
from Pruners.schedules.round_schedules import exponential, linear, polynomial
from Pruners.schedules.rounds import budgets, prune_in_rounds, regrow_in_rounds
from Utils.config.target import Target
from Utils.topk import descending_order, strongest, weakest


@given(st.lists(st.integers(0, 3), min_size=1, max_size=30), st.data())
@hypothesis_settings(deadline=None)
def test_weakest_breaks_ties_by_place(values, data):
    count = data.draw(st.integers(0, len(values)))
    expected = sorted(range(len(values)), key=lambda i: (values[i], -i))[:count]
    assert weakest(torch.tensor(values, dtype=torch.float64), count).tolist() == expected


@given(st.lists(st.integers(0, 3), min_size=1, max_size=30), st.data())
@hypothesis_settings(deadline=None)
def test_strongest_breaks_ties_by_place(values, data):
    count = data.draw(st.integers(0, len(values)))
    expected = set(sorted(range(len(values)), key=lambda i: (-values[i], i))[:count])
    assert set(strongest(torch.tensor(values, dtype=torch.float64), count).nonzero()[:, 0].tolist()) == expected


@pytest.mark.parametrize("kind", ["normal", "ties", "sorted", "constant"])
@pytest.mark.parametrize("count", [0, 1, 1000, 150_000, 199_999, 200_000])
def test_a_guessed_threshold_changes_nothing(kind, count):
    generator = torch.Generator().manual_seed(0)
    scores = {
        "normal": torch.randn(200_000, generator=generator, dtype=torch.float64),
        "ties": torch.randint(0, 7, (200_000,), generator=generator).double(),
        "sorted": torch.arange(200_000, dtype=torch.float64),
        "constant": torch.zeros(200_000, dtype=torch.float64),
    }[kind]
    order = descending_order(scores)
    assert torch.equal(weakest(scores, count), order[len(order) - count :].flip(0))
    assert torch.equal(strongest(scores, count).nonzero()[:, 0], order[:count].sort().values)


# Schedules


def test_counts_of_the_schedules():
    """Worked out by hand for 1000 weights, density 0.001, four rounds."""
    target = Target.of("0.999")
    assert budgets(target, 1000, 4, exponential) == [178, 32, 6, 1]  # 1000 * 10^-0.75, 10^-1.5, 10^-2.25
    assert budgets(target, 1000, 4, linear) == [751, 501, 251, 1]
    assert budgets(target, 1000, 4, polynomial) == [423, 126, 17, 1]  # 1 - 0.999 (1 - (3/4)^3), ...
    assert budgets(target, 1000, 1, linear) == [1]


@pytest.mark.parametrize("schedule", [name for name in registry.SCHEDULES if name != "one-shot"])
@pytest.mark.parametrize("sparsity", ["0", "0.5", "0.9", "0.999999"])
def test_schedules_fall_to_the_target(schedule, sparsity):
    function = getattr(__import__("Pruners.schedules.round_schedules", fromlist=[schedule]), schedule)
    target = Target.of(sparsity)
    counts = [100_000, *budgets(target, 100_000, 30, function)]
    assert counts == sorted(counts, reverse=True) and counts[-1] == target.kept(100_000)
    assert function(target.density, 0) == pytest.approx(1) and function(target.density, 1) == pytest.approx(
        target.density
    )


# Orders


def tiny() -> nn.Module:
    return nn.Sequential(MaskedLinear(4, 5, bias=False), MaskedLinear(5, 3, bias=False))


@pytest.mark.parametrize("stale", [0.0, 0.25, 2.0])
@given(seed=st.integers(0, 1000), budget=st.lists(st.integers(1, 35), min_size=1, max_size=6))
@hypothesis_settings(max_examples=40, deadline=None)
def test_places_are_those_of_plain_python(stale, seed, budget):
    """Random scores with ties, new in each round; some weights are pruned from the start."""
    generator = torch.Generator().manual_seed(seed)
    budget = sorted(budget, reverse=True)
    model = tiny()
    for _, mask in prunable(model).values():
        mask.copy_(torch.rand(mask.shape, generator=generator) < 0.8)
    draws = [torch.randint(0, 4, (35,), generator=generator).double() for _ in budget]
    kept = torch.cat([mask.flatten() for _, mask in prunable(model).values()]).tolist()
    order = [i for i in range(35) if not kept[i]]
    for keep, draw in zip(budget, draws, strict=True):
        open_entries = sorted((i for i in range(35) if kept[i]), key=lambda i: (draw[i].item(), -i))
        for i in open_entries[: max(0, len(open_entries) - keep)]:
            kept[i] = False
            order.append(i)
    order += sorted((i for i in range(35) if kept[i]), key=lambda i: (draws[-1][i].item(), -i))
    sequence = iter(draws)

    def score() -> dict[str, torch.Tensor]:
        draw = next(sequence)
        return {"0.weight": draw[:20].reshape(5, 4), "1.weight": draw[20:].reshape(3, 5)}

    original, rounds._STALE = rounds._STALE, stale
    try:
        places = prune_in_rounds(model, score, budget)
    finally:
        rounds._STALE = original
    flat = torch.cat([place.flatten() for place in places.values()])
    assert flat.argsort().tolist() == order
    assert torch.cat([mask.flatten() for _, mask in prunable(model).values()]).tolist() == kept


@pytest.mark.parametrize("name", ["snip", "mag", "random", "grasp", "taylor", "fisher", "l2", "lamp"])
def test_one_round_is_the_same_as_none_and_several_reach_the_count(name):
    model, batches = network("lenet5"), make_batches((3, 32, 32))
    generator = torch.Generator().manual_seed(2)
    scores = make_pruner(name, iterations=3, schedule="linear").score(model, batches, "0.9", generator)
    assert sorted(torch.cat([score.flatten() for score in scores.values()]).tolist()) == list(range(61_770))
    masks = allocate(model, scores, "0.9", (3, 32, 32), "direct")
    assert masks.kept == 6_177
    if name == "mag":  # scores that do not depend on what is pruned keep their order
        assert masks == allocate(model, criterion_scores(name, "lenet5", "0.95"), "0.9", (3, 32, 32), "direct")
    one_shot = make_pruner(name, schedule="one-shot").score(model, batches, "0.9", torch.Generator().manual_seed(2))
    assert all(torch.equal(one_shot[key], value) for key, value in criterion_scores(name, "lenet5", "0.95").items())


def test_iterative_snip_is_snip_of_what_is_left_with_another_batch_in_each_round():
    model, batches = network("lenet5"), make_batches((3, 32, 32), count=3)
    scores = make_pruner("snip_iterative", iterations=5).score(model, batches, "0.9")
    expected = copy.deepcopy(model).train()
    budget = budgets(Target.of("0.9"), 61_770, 5, exponential)
    for step, keep in enumerate(budget):
        found = snip(copy.deepcopy(expected), [batches[step % 3]], None)
        flat = torch.cat([score.flatten() for score in found.values()])
        kept = torch.cat([mask.flatten() for _, mask in prunable(expected).values()])
        flat = flat.masked_fill(~kept, -1)
        best = torch.zeros_like(kept)
        best[flat.sort(descending=True, stable=True).indices[:keep]] = True
        for (_, mask), part in zip(
            prunable(expected).values(), best.split([w.numel() for w, _ in prunable(expected).values()]), strict=True
        ):
            mask.copy_(part.reshape(mask.shape))
    masks = allocate(model, scores, "0.9", (3, 32, 32), "direct")
    assert all(torch.equal(masks[name], mask) for name, (_, mask) in prunable(expected).items())


def test_force_may_bring_weights_back_and_iterative_snip_may_not():
    model, batches = network("lenet5"), make_batches((3, 32, 32), count=4)
    budget = budgets(Target.of("0.95"), 61_770, 8, exponential)
    seen: dict[str, list] = {"force": [], "snip": []}
    for name, function, run in (("force", force, regrow_in_rounds), ("snip", snip, prune_in_rounds)):
        copied = copy.deepcopy(model).train()
        step = iter(range(100))

        def score(function=function, copied=copied, name=name, step=step):
            seen[name].append(torch.cat([mask.flatten().clone() for _, mask in prunable(copied).values()]))
            return function(copied, [batches[next(step) % 4]], None)

        run(copied, score, budget)
    came_back = {
        name: sum(int((later & ~earlier).sum()) for earlier, later in itertools.pairwise(masks))
        for name, masks in seen.items()
    }
    assert came_back["force"] > 0 == came_back["snip"]
    assert [int(mask.sum()) for mask in seen["force"]] == [61_770, *budget[:-1]]


def test_force_never_brings_back_what_was_pruned_before_it():
    model, batches = network("lenet5"), make_batches((3, 32, 32), count=2)
    model[0].weight_mask[:3] = False
    scores = make_pruner("force", iterations=4).score(model, batches, "0.9")
    masks = allocate(model, scores, "0.9", (3, 32, 32), "direct")
    assert masks.kept == 6_177 and not masks["conv1.weight"][:3].any()


# Inverted orders


@pytest.mark.parametrize("name", ["mag", "snip", "random", "magnitude/igq", "lamp/erk"])
def test_inverting_reverses_the_order(name):
    model, batches = network("lenet5"), make_batches((3, 32, 32))
    plain = make_pruner(name).score(model, batches, generator=torch.Generator().manual_seed(2))
    inverted = make_pruner(name, invert=True).score(model, batches, generator=torch.Generator().manual_seed(2))
    if "/" not in name:
        flat, reverse = (torch.cat([s.flatten() for s in scores.values()]) for scores in (plain, inverted))
        assert torch.equal(flat, -reverse)
        return
    for sparsity in ("0.5", "0.9"):
        kept, other = (allocate(model, scores, sparsity, (3, 32, 32), "direct") for scores in (plain, inverted))
        assert [int(m.sum()) for m in kept.values()] == [int(m.sum()) for m in other.values()], "shares stay"
    for key in plain:
        best = plain[key].flatten().argmax()
        assert inverted[key].flatten()[best] == inverted[key].min()


def test_inverting_in_rounds_turns_each_round_round():
    model, batches = network("lenet5"), make_batches((3, 32, 32))
    scores = make_pruner("synflow", iterations=10, invert=True).score(model, batches, "0.9")
    plain = make_pruner("synflow", iterations=10).score(model, batches, "0.9")
    kept, other = (allocate(model, found, "0.9", (3, 32, 32), "direct") for found in (scores, plain))
    assert kept.kept == other.kept == 6_177 and kept.overlap(other) < 0.05
