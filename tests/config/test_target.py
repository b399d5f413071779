"""A target counts as the exact decimal that was typed."""

from decimal import Decimal
from fractions import Fraction
from math import ceil, floor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from Utils.config.target import Target, sparsity_of
from Utils.errors import UserError


@given(digits=st.integers(0, 10**9 - 1), scale=st.integers(9, 12), total=st.integers(1, 10**10))
def test_kept_is_exact(digits, scale, total):
    text = str(Decimal(digits).scaleb(-scale))
    sparsity = Fraction(digits, 10**scale)
    assert Target.of(text).kept(total) == total - floor(sparsity * total)


@given(digits=st.integers(1, 10**80), places=st.integers(80, 320), total=st.integers(1, 10**10))
def test_a_density_keeps_that_fraction_exactly(digits, places, total):
    density = Fraction(digits, 10**places)
    sparsity = sparsity_of(Decimal(f"{digits}e-{places}"))
    assert Fraction(sparsity) == 1 - density
    assert Target(sparsity).kept(total) == ceil(density * total)


@given(exponent=st.integers(0, 12), total=st.integers(1, 10**10))
def test_compression_by_powers_of_ten_is_exact(exponent, total):
    kept = Target(com_exp=Decimal(exponent)).kept(total)
    assert kept == ceil(Fraction(total, 10**exponent))
    if exponent:
        assert kept == Target.of("0." + "9" * exponent).kept(total)


@given(exponent=st.decimals("0", "6", places=3), total=st.integers(1, 10**8))
def test_compression_by_any_power(exponent, total):
    kept = Target(com_exp=exponent).kept(total)
    ratio = total / 10 ** float(exponent)
    assert kept - 1 <= ratio * (1 + 1e-9) and ratio * (1 - 1e-9) <= kept


def test_published_counts():
    counts = [Target(com_exp=Decimal(e)).kept(14_761_664) for e in ("0.25", "0.5", "1", "2", "3", "4", "5", "6")]
    assert counts == [8_301_094, 4_668_049, 1_476_167, 147_617, 14_762, 1_477, 148, 15]


def test_floats_count_as_the_decimal_that_they_show():
    # 0.7 in binary is a little less than 7/10, and 0.7 * 10 rounds up to 7 only by luck.
    assert Target.of(0.7).kept(10) == 3 and Target.of(0.1 + 0.2).kept(10**18) == 10**18 - 300000000000000040


@pytest.mark.parametrize("wrong", ["1", "-0.1", "nan", "inf", "1e5", "many", None])
def test_impossible_sparsities(wrong):
    with pytest.raises(UserError, match="target sparsity must be"):
        Target.of(wrong)


@pytest.mark.parametrize("wrong", ["-1", "nan", "inf", "301"])
def test_impossible_exponents(wrong):
    with pytest.raises(UserError, match="compression exponent must be"):
        Target(com_exp=Decimal(wrong))


def test_a_target_is_one_of_both():
    with pytest.raises(UserError):
        Target()
    with pytest.raises(UserError):
        Target(Decimal(0), Decimal(0))


def test_a_sparsity_below_one_keeps_a_weight_however_many_digits_it_has():
    assert Target.of("0." + "9" * 90).kept(100) == 1
