"""Gaps, runs and clusters: golden cases, plain loops, and the closed forms of the thesis."""

import json
from itertools import groupby, pairwise

import numpy as np
import pytest
from conftest import shared
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from Experiments.comparison.structure.clusters import clusters, runs
from Experiments.comparison.structure.gaps import gaps, nearest, position_histogram
from Experiments.comparison.structure.statistics import unit_statistics
from Experiments.comparison.structure.thesis import thesis_runs, thesis_statistics

CELLS = st.sampled_from([-1, 0, 0, 1])
ROWS = arrays(np.int8, array_shapes(min_dims=2, max_dims=2, max_side=12), elements=CELLS)
PLANES = arrays(np.int8, array_shapes(min_dims=4, max_dims=4, max_side=5), elements=CELLS)


def row(*unit: float) -> np.ndarray:
    return np.sign(np.array([unit])).astype(np.int8)


def planes(rows: np.ndarray) -> np.ndarray:
    return rows[:, None, None, :]


def thesis_sizes(unit: np.ndarray) -> list[int]:
    """The loop of the thesis: a gap opens a new cluster before its left weight is counted, the last weight never is."""
    sizes: dict[int, int] = {}
    number = 0
    for left, right in pairwise(np.flatnonzero(unit)):
        number += right - left > 1
        sizes[number] = sizes.get(number, 0) + 1
    return list(sizes.values())


def thesis_gap(unit: np.ndarray) -> int:
    """The loop of the thesis: the sum of all gaps over their number, cut to a whole number."""
    positions = np.flatnonzero(unit)
    return int(sum(right - left for left, right in pairwise(positions)) / max(len(positions) - 1, 1))


def flooded(plane: np.ndarray, neighbours: int) -> list[tuple[int, int]]:
    """Size and positive weights of the clusters of a plane, by flooding."""
    left = {(int(y), int(x)) for y, x in zip(*np.nonzero(plane), strict=True)}
    steps = [(y, x) for y in (-1, 0, 1) for x in (-1, 0, 1) if neighbours == 8 or abs(y) + abs(x) == 1]
    found = []
    while left:
        cluster, border = set(), [min(left)]
        while border:
            cell = border.pop()
            if cell in left:
                left.remove(cell)
                cluster.add(cell)
                border += [(cell[0] + y, cell[1] + x) for y, x in steps]
        found.append((len(cluster), sum(plane[cell] > 0 for cell in cluster)))
    return found


def test_golden_cases():
    *cases, image = json.loads(shared("golden/cluster_cases.json").read_text())
    assert len(cases) == 6
    for case in cases:
        unit = row(*case["unit"])
        found = runs(unit)
        assert found.size.tolist() == case["run_lengths"] and len(found.size) == case["n_runs"]
        assert (found.size >= 2).sum() == case["n_runs_ge2"]
        np.testing.assert_allclose(found.sign_ratio, case["sign_ratio_all"])
        assert thesis_runs(found).size.tolist() == case["thesis_sizes"]
        assert thesis_statistics(planes(unit))["runs"] == case["thesis_count"]
        expected = np.nan if case["mean_gap"] is None else case["mean_gap"]
        np.testing.assert_allclose(gaps(unit).mean, expected)
    picture = np.zeros((1, 28, 28), np.int8)
    picture[0, 2:4, 2:4] = picture[0, 4, 4] = picture[0, 10, 27] = picture[0, 11, 0] = picture[0, 20, 5:9] = 1
    found = [runs(picture.reshape(1, -1)), clusters(picture, 4), clusters(picture, 8)]
    assert picture.sum() == image["n_weights"]
    assert [len(one.size) for one in found] == [image["runs_flat"], image["cc4"], image["cc8"]]


@pytest.mark.parametrize(
    "unit, lengths, ratios, gap, thesis",
    [
        ((1, 1, 0, 1, 1), [2, 2], [1, 1], 4 / 3, (1, 2, 1.5)),
        ((1, 0, -1, -1, 0, 2, -3, 4), [1, 2, 3], [1, 0, 2 / 3], 1.4, (1, 2, 2.5)),
        ((1, 0, 1, 0, 1), [1, 1, 1], [1, 1, 1], 2, (2, 2, 1)),
        ((0, 1, 0, 0, 0), [1], [1], 0, (0, 0, np.nan)),
        ((0, 0, 0), [], [], np.nan, (0, 0, np.nan)),
    ],
)
def test_units_of_golden_fact_26(unit, lengths, ratios, gap, thesis):
    found, of_thesis = runs(row(*unit)), thesis_statistics(planes(row(*unit)))
    assert found.size.tolist() == lengths
    np.testing.assert_allclose(found.sign_ratio, ratios)
    np.testing.assert_allclose(gaps(row(*unit)).mean, gap)
    values = [of_thesis[name][0] for name in ("gap_mean", "runs")]
    assert values == list(thesis[:2])
    np.testing.assert_allclose(of_thesis["run_length"], np.round(thesis[2]))


@given(ROWS)
@settings(max_examples=80, deadline=None)
def test_runs_partition_the_weights(rows):
    found = runs(rows)
    expected = [
        (unit, len(run), sum(value > 0 for value in run))
        for unit, values in enumerate(rows)
        for is_weight, group in groupby(values, key=bool)
        if is_weight and (run := list(group))
    ]
    assert list(zip(*map(np.ndarray.tolist, found), strict=True)) == expected
    assert found.size.sum() == np.count_nonzero(rows)
    for unit, values in enumerate(rows):
        assert thesis_runs(found.where(found.place == unit)).size.tolist() == thesis_sizes(values)
    of_thesis = thesis_statistics(planes(rows))
    assert of_thesis["runs"].tolist() == [len(thesis_sizes(values)) for values in rows]
    assert of_thesis["gap_mean"].tolist() == [thesis_gap(values) for values in rows]
    for unit in range(len(rows)):
        *but_last, _ = [(size, positive) for place, size, positive in expected if place == unit] or [None]
        ratios = [positive / size for size, positive in but_last if size > 1]
        np.testing.assert_allclose(of_thesis["run_sign_ratio"][unit], np.mean(ratios) if ratios else np.nan)


@given(PLANES)
@settings(max_examples=60, deadline=None)
def test_clusters_and_nearest_weights_against_plain_loops(signs):
    flat = signs.reshape(-1, *signs.shape[2:])
    statistics = unit_statistics(signs)
    for neighbours in (4, 8):
        found = clusters(signs, neighbours)
        expected = [(place, *one) for place, plane in enumerate(flat) for one in flooded(plane, neighbours)]
        assert list(zip(*map(np.ndarray.tolist, found), strict=True)) == expected
        sizes = [[size for plane in unit for size, _ in flooded(plane, neighbours)] for unit in signs]
        assert statistics[f"clusters_{neighbours}"].tolist() == list(map(len, sizes))
        means = [np.mean(own) if own else np.nan for own in sizes]
        np.testing.assert_allclose(statistics[f"cluster_size_{neighbours}"], means)
    distances = []
    for unit in signs:
        cells = [np.argwhere(plane) for plane in unit]
        own = [
            min(np.hypot(*(one - other)) for other in plane if (one != other).any())
            for plane in cells if len(plane) > 1 for one in plane
        ]  # fmt: skip
        distances.append(np.mean(own) if own else np.nan)
    np.testing.assert_allclose(nearest(signs), distances)


@given(ROWS)
@settings(max_examples=60, deadline=None)
def test_statistics_of_units_against_plain_loops(rows):
    found = unit_statistics(planes(rows))
    for unit, values in enumerate(rows):
        steps = np.diff(np.flatnonzero(values))
        weights = np.count_nonzero(values)
        for name, function in (("gap_mean", np.mean), ("gap_median", np.median), ("gap_min", np.min)):
            expected = function(steps) if len(steps) else (0.0 if weights else np.nan)
            np.testing.assert_allclose(found[name][unit], expected)
        groups = [list(group) for is_weight, group in groupby(values, key=bool) if is_weight]
        long = [group for group in groups if len(group) > 1]
        same = [bool(left == right) for group in groups for left, right in pairwise(group)]
        lengths, ratios = list(map(len, groups)), [np.mean(np.array(group) > 0) for group in long]
        for name, items in (("run_length", lengths), ("run_sign_ratio", ratios), ("sign_agreement", same)):
            np.testing.assert_allclose(found[name][unit], np.mean(items) if items else np.nan, err_msg=name)
        assert (found["weights"][unit], found["runs"][unit], found["long_runs"][unit]) == (
            weights, len(groups), len(long),
        )  # fmt: skip


@given(PLANES, st.integers(1, 9))
@settings(max_examples=40, deadline=None)
def test_histograms_of_positions_lose_no_weight(signs, bins):
    table = position_histogram(signs, bins)
    inputs = signs[0].size
    assert table["count"].sum() == np.count_nonzero(signs)
    assert table["expected"].sum() == pytest.approx(np.count_nonzero(signs))
    assert table["low"].iloc[0] == 0 and table["high"].iloc[-1] == 1 and len(table) == min(bins, inputs)
    rows = signs.reshape(len(signs), -1)
    for _, one in table.iterrows():
        first, last = round(one["low"] * inputs), round(one["high"] * inputs)
        assert one["count"] == np.count_nonzero(rows[:, first:last])


def random_mask(generator: np.random.Generator, density: float, shapes) -> list[np.ndarray]:
    """The highest of all scores together, as a global random pruner keeps them."""
    scores = [generator.random(shape) for shape in shapes]
    lowest = np.quantile(np.concatenate([score.ravel() for score in scores]), 1 - density)
    return [(score > lowest).astype(np.int8) for score in scores]


FC = [(100, 784), *[(100, 100)] * 4, (10, 100)]


def means_of_thesis(layers: list[np.ndarray], name: str) -> np.ndarray:
    return np.array([np.nanmean(thesis_statistics(planes(layer))[name]) for layer in layers])


def test_runs_of_random_networks_as_the_thesis_counted_them():
    """Spec 4.2(g): rounded means over units 126 15 15 15 15 at 20.18 %; the last layer has ten units only."""
    generator = np.random.default_rng(0)
    density = 10**-0.695
    counts = np.mean([means_of_thesis(random_mask(generator, density, FC), "runs") for _ in range(3)], axis=0)
    np.testing.assert_allclose(counts[:5], [126, 15, 15, 15, 15], atol=0.9)
    # A run begins where the input before has no weight, and a first run of one weight is not counted.
    inputs = np.array([784, 100, 100, 100, 100, 100])
    expected = density + (inputs - 1) * density * (1 - density) - (1 - density)
    assert (np.abs(counts - expected) < [0.9, *[0.6] * 4, 1.3]).all()


def tiled_mask(generator: np.random.Generator) -> list[np.ndarray]:
    """The random masks with structure of the thesis: tiles in the first rows of each layer."""
    layers = []
    for (units, inputs), draws, rows in zip(FC, [600, *[400] * 4, 200], [6, *[30] * 4, 10], strict=True):
        mask = np.zeros((units, inputs), np.int8)
        for _ in range(draws):
            x, y = generator.integers(rows), generator.integers(inputs)
            while mask[x, y]:
                x, y = generator.integers(rows), generator.integers(inputs)
            mask[x, y] = 1
            if x + 1 == units:
                continue
            mask[x + 1, y] = 1
            for place in (y + 1, y + 2):
                if place >= inputs or mask[x, place]:
                    break
                mask[x, place] = 1
        layers.append(mask)
    return layers


def test_structured_random_networks_as_the_thesis_measured_them():
    """Golden fact 14 for the masks, and spec 4.2(g): runs 8 5 5 5 5 17, lengths 3 3 3 3 3 4, gaps .193 .62 1.1."""
    generator = np.random.default_rng(1)
    networks = [tiled_mask(generator) for _ in range(3)]
    counts = np.array([[int(layer.sum()) for layer in network] for network in networks])
    assert ((counts[:, 0] >= 2030) & (counts[:, 0] <= 2150)).all() and counts.sum(1) / 119_400 == pytest.approx(
        0.068, abs=1.5e-3
    )
    runs_, lengths, spaces = (
        np.mean([means_of_thesis(network, name) for network in networks], axis=0)
        for name in ("runs", "run_length", "gap_mean")
    )
    assert runs_.round().tolist() == [8, 5, 5, 5, 5, 17] and lengths.round().tolist() == [3, 3, 3, 3, 3, 4]
    np.testing.assert_allclose(spaces, [0.193, 0.597, 0.620, 0.643, 0.633, 1.1], atol=0.06)
