"""Smart ratios: the published numbers of ResNet-20, and invariants of any network."""

import subprocess
import sys
from fractions import Fraction

import pytest
from conftest import ROOT
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from Pruners.schedules.smart_ratio import smart_ratio_counts
from Utils.errors import UserError

RESNET20 = [432, *[2304] * 6, 4608, *[9216] * 5, 18432, *[36864] * 5, 640]
TENTH = [
    0.7313, 0.6617, 0.5955, 0.5328, 0.4736, 0.4179, 0.3657, 0.3169, 0.2716, 0.2298, 0.1915, 0.1567, 0.1254, 0.0975,
    0.0731, 0.0522, 0.0348, 0.0209, 0.0104, 0.3,
]  # fmt: skip


def test_resnet20_at_a_tenth():
    counts, densities = smart_ratio_counts(RESNET20, 0.1, is_plain=False)
    assert sum(RESNET20) == 268_336 and sum(counts) == 26_825
    assert [round(density, 4) for density in densities] == TENTH
    assert all(type(count) is int for count in counts)
    assert all(
        0 <= density * size - count < 1 for count, density, size in zip(counts, densities, RESNET20, strict=True)
    )


def test_resnet20_where_the_first_layers_overflow():
    counts, densities = smart_ratio_counts(RESNET20, "0.2", is_plain=False)
    assert densities[:7] == [1.0] * 7 and counts[:7] == RESNET20[:7] and densities[7] < 1
    assert sum(counts) == 53_662 and counts[-1] == 192
    assert sum(smart_ratio_counts(RESNET20, "0.5", is_plain=False).counts) == 134_160


def test_a_plain_network_is_divided_by_the_square_of_the_depth():
    """Densities of layers 1 to 3 of 4 are to each other as 20, 12 / 4 and 6 / 9."""
    counts, densities = smart_ratio_counts([9000, 9000, 9000, 100], "0.1", is_plain=True, last_density="0.5")
    unit = (2710 - 50) / (9000 * (20 + 3 + 6 / 9))
    assert densities == pytest.approx([20 * unit, 3 * unit, 6 / 9 * unit, 0.5])
    assert counts == [int(20 * unit * 9000), int(3 * unit * 9000), int(6 / 9 * unit * 9000), 50]


@pytest.mark.parametrize(("density", "first", "last"), [("0.0144", "0.3449", "0.2594"), ("0.0372", "0.4144", "0.5469")])
def test_given_densities_of_the_first_and_the_last_layer(density, first, last):
    """The second version of the Gem-Miner program; the layers between keep what the target leaves to them."""
    counts, densities = smart_ratio_counts(RESNET20, density, is_plain=False, last_density=last, first_density=first)
    assert (densities[0], densities[-1]) == (float(first), float(last))
    assert counts[0] == int(Fraction(first) * 432) and counts[-1] == int(Fraction(last) * 640)
    assert densities[1] / densities[2] == pytest.approx((19**2 + 19) / (18**2 + 18))
    assert 0 <= Fraction(density) * 268_336 - sum(counts) < 20


def test_a_density_is_an_exact_decimal():
    """0.29 of 100 weights are 29, although the float is less."""
    assert smart_ratio_counts([1000, 100], 0.5, is_plain=False, last_density=0.29).counts == [521, 29]


@given(
    sizes=st.lists(st.integers(1, 3000), min_size=2, max_size=25), thousandths=st.integers(1, 1000),
    is_plain=st.booleans(), last=st.integers(0, 10), first=st.none() | st.integers(0, 10),
)  # fmt: skip
@hypothesis_settings(max_examples=400, deadline=None)
def test_counts_of_any_network(sizes, thousandths, is_plain, last, first):
    density, ends = Fraction(thousandths, 1000), (None if first is None else f"{first / 10}", f"{last / 10}")
    fixed = Fraction(last, 10) * sizes[-1] + Fraction(first or 0, 10) * sizes[0]
    free = sizes[:-1] if first is None else sizes[1:-1]
    if not free or not fixed <= density * sum(sizes) <= fixed + sum(free):
        with pytest.raises(UserError):
            smart_ratio_counts(sizes, thousandths / 1000, is_plain, ends[1], ends[0])
        return
    counts, densities = smart_ratio_counts(sizes, thousandths / 1000, is_plain, ends[1], ends[0])
    assert all(0 <= count <= size for count, size in zip(counts, sizes, strict=True))
    assert [int(share * size + 1e-9) for share, size in zip(densities, sizes, strict=True)] == counts
    assert 0 <= density * sum(sizes) - sum(counts) < len(sizes)
    between = densities[len(sizes) - 1 - len(free) : -1]
    assert between == sorted(between, reverse=True), "densities fall with depth"


@pytest.mark.parametrize(("sizes", "density", "options", "message"), [
    (RESNET20, "0.0005", {}, "cannot keep 134.168 of 268336 weights: the layers of fixed density keep 192 and the "
     "others have 267696; ask for a density from 0.000716 to 0.99833"),
    (RESNET20, "0.999", {}, "ask for a density from 0.000716 to 0.99833"),
    (RESNET20, "0.001", {"first_density": 1}, "fixed density keep 624 and the others have 267264"),
    ([100], "0.1", {}, "smart ratios need at least 2 masked layers; this network has 1"),
    ([100, 10], "0.1", {"first_density": "0.5"}, "smart ratios need at least 3 masked layers; this network has 2"),
    (RESNET20, "10", {}, "density must be between 0 and 1, not 10"),
    (RESNET20, "0.1", {"last_density": 30}, "last density must be between 0 and 1, not 30"),
])  # fmt: skip
def test_impossible_requests(sizes, density, options, message):
    with pytest.raises(UserError, match=message) as error:
        smart_ratio_counts(sizes, density, is_plain=False, **options)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("bound", [0, 1])
def test_the_reachable_densities_that_an_error_names_can_be_asked_for(bound):
    with pytest.raises(UserError) as error:
        smart_ratio_counts(RESNET20, 1, is_plain=False)
    density = str(error.value).partition("a density from ")[2].split(" to ")[bound]
    assert 0 <= Fraction(density) * 268_336 - sum(smart_ratio_counts(RESNET20, density, is_plain=False).counts) < 20


def test_no_torch_is_loaded():
    code = "import sys; sys.modules['torch'] = None; import Pruners.schedules.smart_ratio"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0
