"""Kernels: graph scores of all patterns, common patterns, and statistics per position, against plain loops."""

from collections import Counter
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from scipy.stats import hypergeom

from Experiments.comparison.structure.graph_scores import graph_scores, unit_scores
from Experiments.comparison.structure.patterns import all_patterns, common_patterns, pattern_ids
from Experiments.comparison.structure.positions import co_occurrence, input_counts, kernel_counts, weight_counts
from Experiments.comparison.structure.thesis import thesis_statistics

PLANES = arrays(np.int8, array_shapes(min_dims=4, max_dims=4, max_side=4), elements=st.sampled_from([-1, 0, 0, 1]))


def score(plane: np.ndarray, neighbours: int, cluster_size: int = 1) -> float:
    """The definition, on sets of cells: clusters that touch are merged until none do."""
    groups = [{(int(y), int(x))} for y, x in np.argwhere(plane)]
    weights = len(groups)
    limit = 1 if neighbours == 4 else 2

    def touch(one: set, other: set) -> bool:
        return any((a - c) ** 2 + (b - d) ** 2 <= limit for a, b in one for c, d in other)

    merged = True
    while merged:
        merged = False
        for one, other in product(groups, groups):
            if one is not other and touch(one, other):
                groups = [group for group in groups if group is not one and group is not other] + [one | other]
                merged = True
                break
    if len(groups) == weights:
        return 0.0
    return 1.0 if len(groups) == 1 else sum(len(group) > cluster_size for group in groups) / len(groups)


@pytest.mark.parametrize("neighbours", [4, 8])
def test_scores_of_all_512_patterns(neighbours):
    patterns = all_patterns(3, 3)
    assert len(patterns) == 512 and (pattern_ids(patterns) == np.arange(512)).all()
    expected = [score(pattern, neighbours) for pattern in patterns]
    np.testing.assert_allclose(graph_scores(patterns, neighbours), expected)
    large = [score(pattern, neighbours, 3) for pattern in patterns]
    np.testing.assert_allclose(graph_scores(patterns, neighbours, 3), large)
    assert large != expected, "the size of clusters matters"


@pytest.mark.parametrize(
    "kernel, four, eight",
    [
        ("000 000 000", 0, 0), ("000 010 000", 0, 0), ("100 010 001", 0, 1), ("110 000 001", 0.5, 0.5),
        ("110 101 011", 1, 1), ("101 000 101", 0, 0), ("111 111 111", 1, 1), ("110 000 011", 1, 1),
    ],
)  # fmt: skip
def test_golden_fact_28(kernel, four, eight):
    signs = np.array([[int(cell) for cell in line] for line in kernel.split()], np.int8)
    assert (graph_scores(signs, 4), graph_scores(signs, 8)) == (four, eight)


@given(PLANES)
@settings(max_examples=40, deadline=None)
def test_scores_of_units_are_means_of_kernels_with_and_without_empty_ones(signs):
    for neighbours in (4, 8):
        every, filled = unit_scores(signs, neighbours)
        for unit, kernels in enumerate(signs):
            scores = [score(kernel, neighbours) for kernel in kernels]
            known = [one for one, kernel in zip(scores, kernels, strict=True) if kernel.any()]
            np.testing.assert_allclose(every[unit], np.mean(scores))
            np.testing.assert_allclose(filled[unit], np.mean(known) if known else np.nan)
            rounded = np.round(np.mean(np.round(scores, 2)), 2)
            assert thesis_statistics(signs)[f"graph_score_{neighbours}"][unit] == pytest.approx(rounded, abs=0.0101)
    assert (graph_scores(signs, 4) <= 1).all() and (graph_scores(-signs, 8) == graph_scores(signs, 8)).all()


@given(st.lists(PLANES, min_size=1, max_size=3), st.integers(1, 5))
@settings(max_examples=40, deadline=None)
def test_common_patterns_are_counted_and_ordered(layers, most):
    table = common_patterns(layers, most)
    for (height, width), part in table.groupby(["height", "width"]):
        counts: Counter = Counter()
        for signs in layers:
            if signs.shape[2:] == (height, width):
                for kernel in signs.reshape(-1, height * width):
                    counts[sum(2**i for i, cell in enumerate(kernel) if cell)] += 1
        expected = sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:most]
        assert list(zip(part["pattern"], part["count"], strict=True)) == expected
        assert part["rank"].tolist() == list(range(1, len(part) + 1))
        np.testing.assert_allclose(part["share"], part["count"] / counts.total())
    sizes = {signs.shape[2:] for signs in layers} - {(1, 1)}
    assert {(h, w) for h, w in zip(table["height"], table["width"], strict=True)} == sizes


def test_expected_patterns_add_up_to_all_kernels():
    generator = np.random.default_rng(0)
    layers = [(generator.random((40, 3, 2, 2)) < density).astype(np.int8) for density in (0.1, 0.5, 0.9)]
    table = common_patterns(layers, 16)
    assert len(table) == 16 and table["count"].sum() == 360 and table["expected"].sum() == pytest.approx(360)


def test_kernels_of_one_cell_and_huge_ones_have_no_patterns():
    assert len(common_patterns([np.ones((2, 2, 1, 1), np.int8), np.ones((2, 2, 8, 8), np.int8)])) == 0
    (row,) = common_patterns([np.ones((2, 2, 7, 7), np.int8)]).itertuples()
    assert (row.pattern, row.count) == (2**49 - 1, 4)


@given(PLANES)
@settings(max_examples=40, deadline=None)
def test_counts_per_position_against_plain_loops(signs):
    by_input, by_cell = input_counts(signs), kernel_counts(signs)
    for table, sign in product((by_input, by_cell), (1, -1)):
        column = "positive" if sign > 0 else "negative"
        for _, one in table.iterrows():
            y, x = int(one["row"]), int(one["column"])
            part = signs[:, int(one["channel"]), y, x] if "channel" in table else signs[:, :, y, x]
            assert one[column] == (part == sign).sum()
    assert by_cell["expected"].sum() == pytest.approx(np.count_nonzero(signs))
    names = {1: "positive", -1: "negative"}
    for _, one in co_occurrence(signs).iterrows():
        first, second = signs[:, :, one["row"], one["column"]], signs[:, :, one["other_row"], one["other_column"]]
        for a, b in product(names, names):
            assert one[f"{names[a]}_{names[b]}"] == ((first == a) & (second == b)).sum()


@given(PLANES)
@settings(max_examples=40, deadline=None)
def test_counts_of_weights_per_unit_and_kernel(signs):
    table = weight_counts(signs)
    assert set(table["part"]) == ({"unit"} if signs.shape[1] == 1 else {"unit", "kernel"})
    for part, axes in (("unit", (1, 2, 3)), ("kernel", (2, 3))):
        if part not in set(table["part"]):
            continue
        own = table[table["part"] == part]
        counts = Counter(np.count_nonzero(signs, axis=axes).ravel().tolist())
        assert {w: c for w, c in zip(own["weights"], own["count"], strict=True) if c} == counts
        cells, parts = signs[(0,) * (4 - len(axes))].size, sum(counts.values())
        every = parts * hypergeom(signs.size, np.count_nonzero(signs), cells).pmf(np.arange(cells + 1))
        np.testing.assert_allclose(own["expected"], every[own["weights"]], atol=1e-12)
        listed = [number for number, expected in enumerate(every) if counts[number] or expected >= 0.5]
        assert own["weights"].tolist() == listed


def test_large_kernels_have_no_table_of_pairs():
    assert len(co_occurrence(np.ones((2, 1, 6, 6), np.int8))) == 0
    assert len(co_occurrence(np.ones((2, 1, 5, 5), np.int8))) == 625
