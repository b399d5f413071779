"""Sparsity over time, against published numbers and formulas."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from Experiments.gradual import RAMPS
from Pruners.schedules.sparsity_ramps import SHAPES, Ramp


def test_shapes_are_those_of_the_flag():
    assert tuple(SHAPES) == RAMPS


def test_numbers_of_the_original_program():
    cycles = Ramp("half-cycle", 0, 50_000, 0.0, 0.9, 5000)
    assert [round(cycles.sparsity(step), 4) for step in (0, 1250, 2500, 4900)] == [0, 0.3444, 0.6364, 0.8996]
    assert cycles.sparsity(5000) == 0 and cycles.sparsity(6250) == cycles.sparsity(1250)
    assert round(Ramp("linear", 0, 50_000, 0.0, 0.9, 1).sparsity(49_900), 4) == 0.8982


def test_cubic_is_that_of_zhu_and_gupta():
    ramp = Ramp("cubic", 100, 1100, 0.2, 0.9, 1)
    for step in (100, 350, 600, 1000):
        assert ramp.sparsity(step) == pytest.approx(0.9 + (0.2 - 0.9) * (1 - (step - 100) / (10 * 100)) ** 3)


def test_full_cycle_goes_up_and_down():
    ramp = Ramp("full-cycle", 0, 900, 0.0, 0.8, 100)
    assert [round(ramp.sparsity(step), 9) for step in (0, 100, 200)] == [0, 0.8, 0]
    assert ramp.sparsity(50) == pytest.approx(ramp.sparsity(150)) == pytest.approx(0.8 * math.sin(math.pi / 4))


@given(
    shape=st.sampled_from(RAMPS), start=st.integers(0, 50), length=st.integers(0, 100), final=st.floats(0, 0.999),
    initial=st.floats(0, 0.999), cycle=st.integers(1, 60), step=st.integers(0, 200),
)  # fmt: skip
def test_any_ramp_starts_late_and_ends_exactly(shape, start, length, final, initial, cycle, step):
    ramp = Ramp(shape, start, start + length, min(initial, final), final, cycle)
    found = ramp.sparsity(step)
    assert 0 <= found <= final + 1e-12
    assert step >= start or found == 0
    assert step < start + length or step < start or found == final
