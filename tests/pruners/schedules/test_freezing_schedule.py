"""Freezing schedule: rates, epochs and counts of a mask search, against its program and against exact arithmetic."""

import json
import math
from decimal import Decimal
from fractions import Fraction

import pytest
from conftest import shared
from hypothesis import given, settings
from hypothesis import strategies as st

from Pruners.schedules.freezing import FreezingSchedule, counts, frozen_count
from Utils.config.target import Target
from Utils.errors import UserError

FC, RESNET20 = 119_400, 268_336

PUBLISHED = [
    (FC, 25, 2, "0.02", 12, 0.27819620, 2387),
    (FC, 25, 2, "0.05", 12, 0.22092219, 5968),
    (FC, 25, 2, "0.1", 12, 0.17459581, 11_938),
    (FC, 25, 2, "0.2", 12, 0.12551473, 23_877),
    (FC, 25, 2, "0.5", 12, 0.05612569, 59_695),
    (RESNET20, 150, 5, "0.02", 29, 0.12619439, 5363),
    (RESNET20, 150, 5, "0.05", 29, 0.09814463, 13_412),
    (RESNET20, 150, 5, "0.1", 29, 0.07632914, 26_828),
    (RESNET20, 150, 5, "0.2", 29, 0.05398595, 53_660),
    (RESNET20, 150, 5, "0.5", 29, 0.02361825, None),
    (RESNET20, 150, 8, "0.5", 18, 0.03777616, 134_161),
    (RESNET20, 150, 8, "0.0059", 18, 0.24810284, None),
]
"""Weights, epochs, period, density, times, rate, and the weights that the stored networks of the program have left."""


def target(density: str) -> Target:
    return Target(1 - Decimal(density))


@pytest.mark.parametrize(("weights", "epochs", "every", "density", "events", "rate", "left"), PUBLISHED)
def test_published_schedules(weights, epochs, every, density, events, rate, left):
    schedule = FreezingSchedule(epochs, every)
    assert schedule.events == events
    assert schedule.rate(target(density)) == pytest.approx(rate, abs=6e-9)
    if left is not None:
        assert counts(weights, schedule.rate(target(density)), events)[-1] == left


def test_reference_cases():
    cases = json.loads(shared("golden/gem_miner_schedule.json").read_text())
    assert len(cases) == 10
    for case in cases:
        schedule = FreezingSchedule(case["epochs"], case["iter_period"])
        rate = schedule.rate(target(str(Decimal(case["target_pct"]) / 100)))
        assert schedule.events == case["events"]
        assert rate == pytest.approx(case["prune_rate"], abs=1e-14)
        left = counts(case["prunable"], rate, schedule.events)
        assert left[-1] == case["remaining_flags"] == (case["saved_model_flags"] or left[-1])


@given(epochs=st.integers(2, 60), every=st.integers(1, 70), last=st.none() | st.integers(1, 70))
@settings(max_examples=150, deadline=None)
def test_due_epochs_are_the_multiples_of_the_period(epochs, every, last):
    """By listing them: counted from 0, never the first epoch, and none after the last that is allowed."""
    due = [epoch for epoch in range(1, epochs) if epoch % every == 0 and (last is None or epoch <= last)]
    if not due:
        with pytest.raises(UserError) as error:
            FreezingSchedule(epochs, every, last)
        most = min(epochs - 1, epochs if last is None else last)
        assert str(error.value).endswith(f"nothing is frozen after epoch 0: give at most {most}")
        assert f"--freeze_every={every} freezes nothing in a search of {epochs} epochs" in str(error.value)
        assert ("until epoch" in str(error.value)) == (last is not None)
        assert FreezingSchedule(epochs, most, last).events == 1, "the remedy works, and no longer period does"
        with pytest.raises(UserError):
            FreezingSchedule(epochs, most + 1, last)
        return
    schedule = FreezingSchedule(epochs, every, last)
    assert [epoch for epoch in range(epochs + 10) if schedule.is_due(epoch)] == due
    assert schedule.events == len(due)
    assert [schedule.event(epoch) for epoch in due] == list(range(1, len(due) + 1))
    assert [schedule.event(epoch) for epoch in range(epochs)] == [sum(d <= e for d in due) for e in range(epochs)]


def test_a_search_of_one_epoch_freezes_nothing():
    with pytest.raises(UserError, match=r"in a search of 1 epoch, .*: search for at least 2 epochs"):
        FreezingSchedule(1, 1)


@given(
    total=st.integers(1, 10**6), events=st.integers(1, 30),
    density=st.decimals("0.001", "1", places=4).filter(lambda density: density > 0),
)  # fmt: skip
@settings(max_examples=150, deadline=None)
def test_the_last_freezing_leaves_the_target_density(total, density, events):
    schedule = FreezingSchedule(events + 1, 1)
    rate = schedule.rate(target(str(density)))
    left = counts(total, rate, events)
    assert left == sorted(left, reverse=True) and len(left) == events
    assert (1 - rate) ** events == pytest.approx(float(density), rel=1e-9)
    # Each time rounds up by less than an entry, and what was rounded shrinks with what is left.
    exact = total * float(density)
    assert exact - min(events, 1 / rate if rate else 0) - 1e-6 * total <= left[-1] <= exact + 1e-6 * total
    if events == 1:
        assert left == [math.floor(total * Fraction(density))]


@given(left=st.integers(0, 10**7), rate=st.decimals(0, 1, places=4))
@settings(max_examples=150, deadline=None)
def test_frozen_count_is_exact(left, rate):
    """The next whole number of an exact product, however the rate was calculated."""
    expected = math.ceil(Fraction(rate) * left)
    for value in (float(rate), 1 - float(1 - rate), 1 - (1 - float(rate))):
        assert frozen_count(left, value) == expected


@pytest.mark.parametrize(("left", "rate", "expected"), [
    (8, 0.25, 2), (3, 1 / 3, 1), (100, 0.07, 7), (100, 1 - 0.42, 58), (10, 0.11, 2), (10, 0, 0), (0, 0.5, 0), (5, 1, 5),
    (1, 1e-9, 1),
])  # fmt: skip
def test_frozen_count_by_hand(left, rate, expected):
    assert frozen_count(left, rate) == expected
