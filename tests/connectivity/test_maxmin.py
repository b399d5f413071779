"""Matrix products with (max, min) against their definition."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from Utils.connectivity.ops.maxmin import INFINITE, product


@settings(max_examples=60, deadline=None)
@given(
    shape=st.tuples(st.integers(1, 3), st.integers(1, 40), st.integers(1, 90), st.integers(1, 40)),
    seed=st.integers(0, 1000),
)
def test_product_equals_its_definition(shape, seed):
    groups, rows, inner, columns = shape
    generator = torch.Generator().manual_seed(seed)
    # Beyond 2^24, where float32 would round.
    left = torch.randint(2**24, 2**31 - 1, (groups, rows, inner), generator=generator, dtype=torch.int32)
    right = torch.randint(2**24, 2**31 - 1, (groups, inner, columns), generator=generator, dtype=torch.int32)
    expected = torch.minimum(left[:, :, :, None], right[:, None]).amax(2)
    assert torch.equal(product(left, right), expected)


@settings(max_examples=100, deadline=None)
@given(
    shape=st.tuples(st.integers(1, 3), st.integers(1, 12), st.integers(1, 60), st.integers(1, 12)),
    seed=st.integers(0, 1000),
    density=st.sampled_from([0.0, 0.02, 0.3, 1.0]),
    entries=st.sampled_from([(1,), (INFINITE,), (1, INFINITE), (1, 2, INFINITE)]),
)
def test_product_of_masks_equals_its_definition(shape, seed, density, entries):
    """What is kept, what no threshold removes, and both beside a rank that is neither."""
    groups, rows, inner, columns = shape
    generator = torch.Generator().manual_seed(seed)

    def mask(*size: int) -> Tensor:
        kinds = torch.tensor(entries, dtype=torch.int32)[torch.randint(len(entries), size, generator=generator)]
        return kinds * (torch.rand(size, generator=generator) < density)

    left, right = mask(groups, rows, inner), mask(groups, inner, columns)
    expected = torch.minimum(left[:, :, :, None], right[:, None]).amax(2)
    found = product(left, right)
    assert found.dtype == torch.int32 and torch.equal(found, expected)


def test_product_in_blocks():
    generator = torch.Generator().manual_seed(0)
    for rows, inner, columns in ((700, 1000, 3), (3, 5, 200_000), (40, 900, 400), (600, 10, 700)):
        left = torch.randint(0, 1000, (2, rows, inner), generator=generator, dtype=torch.int32)
        right = torch.randint(0, 1000, (2, inner, columns), generator=generator, dtype=torch.int32)
        pick = torch.randint(0, columns, (20,), generator=generator)
        expected = torch.minimum(left[:, :, :, None], right[:, None, :, pick]).amax(2)
        assert torch.equal(product(left, right)[:, :, pick], expected)
