"""Tables of distances: their rows against the functions behind them, random nulls, overlaps, order and refusals."""

from itertools import combinations, pairwise, permutations

import numpy as np
import pandas as pd
import pytest
import torch
from permuted import masked, network, permuted, random_partners, symmetries
from scipy.stats import hypergeom
from torch import nn

from Experiments.comparison.distances.alignment import kernels_of
from Experiments.comparison.distances.comparing import alignment_of, distances
from Experiments.comparison.distances.measures import MEASURES, REDUCTIONS
from Experiments.comparison.distances.nulls import shuffled, with_null
from Experiments.comparison.distances.overlaps import chance_overlap, overlap
from Experiments.comparison.distances.tables import distance_tables, mask_overlap_table, unit_distance_table
from Experiments.comparison.distances.thesis import thesis_distances, thesis_kernels
from Experiments.comparison.networks import Network
from Layers import MaskedConv2d, MaskedLinear
from Utils.errors import UserError

SHAPE = (3, 4)


def dense(*widths: int) -> nn.Module:
    layers = [layer for sizes in pairwise(widths) for layer in (MaskedLinear(*sizes), nn.ReLU())]
    return nn.Sequential(nn.Flatten(), *layers[:-1])


def one(seed: int, group: str = "a", density: float = 0.4) -> Network:
    torch.manual_seed(seed)
    return network(masked(dense(12, 8, 6, 4), density, seed), SHAPE, f"{group} s{seed}", group, seed)


@pytest.fixture
def networks() -> list[Network]:
    return [one(1), one(2), one(3, "b")]


def generator() -> np.random.Generator:
    return np.random.default_rng(0)


def test_rows_are_the_distances_of_all_pairs(networks):
    tables = distance_tables(networks, generator(), nulls=0)
    layers, means = tables["layer_distances"], tables["network_distances"]
    assert len(layers) == 3 * len(MEASURES) * 3 * len(REDUCTIONS) and len(means) * 3 == len(layers)
    alignment = alignment_of(networks)
    for first, second in combinations(networks, 2):
        pair = kernels_of(first.layers), kernels_of(second.layers)
        for name, measure in MEASURES.items():
            expected = distances(alignment, *pair, measure, generator())
            keys = {"measure": name, "first": first.name, "second": second.name}
            own = layers.loc[(layers[list(keys)] == pd.Series(keys)).all(axis=1)]
            found = own.pivot(index="layer", columns="reduction", values="distance")
            np.testing.assert_allclose(found.loc[[layer.name for layer in first.layers], list(REDUCTIONS)], expected)
            own = means.loc[(means[list(keys)] == pd.Series(keys)).all(axis=1)].set_index("reduction")["distance"]
            np.testing.assert_allclose(own[list(REDUCTIONS)], expected.mean(0))
    assert set(layers["first_group"] + layers["second_group"]) == {"aa", "ab"}
    assert layers["null_mean"].isna().all() and layers["null_std"].isna().all()


def test_distances_are_the_mean_of_both_directions(networks):
    forward, backward = (distance_tables(own, generator(), nulls=0)["network_distances"]
                         for own in (networks[:2], networks[1::-1]))  # fmt: skip
    np.testing.assert_allclose(forward["distance"], backward["distance"], atol=1e-15)


def test_the_null_keeps_what_it_promises_and_moves_the_rest(networks):
    kernels = kernels_of(networks[0].layers)
    other = shuffled(kernels, generator())
    for name, kernel in kernels.items():
        assert other[name].shape == kernel.shape and not np.array_equal(other[name], kernel)
        np.testing.assert_array_equal(np.sort(other[name], axis=None), np.sort(kernel, axis=None))


def test_means_and_deviations_of_the_null(networks):
    pair = [kernels_of(own.layers) for own in networks[:2]]
    alignment, measure = alignment_of(networks), MEASURES["sasd"]

    def compare(first, second):
        return distances(alignment, first, second, measure, generator())

    found = with_null(compare, *pair, 4, np.random.default_rng(5))
    again = np.random.default_rng(5)
    draws = [compare(shuffled(pair[0], again), shuffled(pair[1], again)) for _ in range(4)]
    np.testing.assert_allclose(found.null_mean, np.mean(draws, axis=0))
    np.testing.assert_allclose(found.null_std, np.std(draws, axis=0, ddof=1))
    single = with_null(compare, *pair, 1, np.random.default_rng(5))
    assert not np.isnan(single.null_mean).any() and np.isnan(single.null_std).all()


def test_random_networks_are_as_far_as_their_null_and_twins_are_closer():
    first = one(1)
    twin = permuted(first, random_partners(symmetries(first)))
    networks = [first, twin, one(2, "c")]
    table = distance_tables(networks, generator(), nulls=30)["network_distances"]
    table = table[table["reduction"] == "micro"].set_index(["measure", "first", "second"])
    for name in MEASURES:
        near, far = table.loc[(name, "a s1", "b s1")], table.loc[(name, "a s1", "c s2")]
        assert near["distance"] == 0 < near["null_mean"] - 5 * near["null_std"]
        assert abs(far["distance"] - far["null_mean"]) < 4 * far["null_std"]


def test_tables_are_drawn_from_the_generator_alone(networks):
    first, second, third = (distance_tables(networks, np.random.default_rng(seed), ("ned",), steps=30, nulls=2)
                            for seed in (0, 0, 1))  # fmt: skip
    for name, table in first.items():
        pd.testing.assert_frame_equal(table, second[name])
    assert not first["network_distances"].equals(third["network_distances"])


def test_local_search_as_a_second_step_helps_or_does_nothing(networks):
    plain, searched = (distance_tables(networks, generator(), ("ned",), alignment="none", steps=steps, nulls=0)
                       for steps in (0, 300))  # fmt: skip
    before, after = (own["network_distances"].query("reduction == 'macro'")["distance"] for own in (plain, searched))
    assert (after < before).all()


def test_networks_of_a_family_stand_together():
    family = [one(1), one(2)]
    twins = [permuted(own, random_partners(symmetries(own))) for own in family]
    networks = [family[0], family[1], *twins]
    networks = [
        network(own.model, SHAPE, name, name[0]) for own, name in zip(networks, ("a1", "b1", "a2", "b2"), strict=True)
    ]
    order = distance_tables(networks, generator(), nulls=0)["distance_order"]
    for _, part in order.groupby("measure"):
        names = "".join(part.sort_values("place")["group"])
        assert names in ("aabb", "bbaa") and set(part["network"]) == {"a1", "a2", "b1", "b2"}


def test_unit_distances_before_and_after_alignment(networks):
    first = networks[0]
    twin = permuted(first, random_partners(symmetries(first)))
    table = unit_distance_table([first, twin, networks[1]], [("a s1", "b s1")], generator())
    assert set(table["second"]) == {"b s1"} and len(table) == len(MEASURES) * (64 + 36 + 16)
    diagonal = table[table["row"] == table["column"]]
    assert (diagonal["distance"] == 0).all() and diagonal["unaligned_distance"].mean() > 0.2
    assert table["distance"].mean() > 0.2
    other = unit_distance_table(networks, [("a s1", "a s2")], generator(), ("ned",))
    layer = other[other["layer"] == "1"].pivot(index="row", columns="column", values="distance").to_numpy()
    weights = [kernels_of(own.layers)["1"][:, :, 0] for own in networks[:2]]
    np.testing.assert_allclose(
        np.sort(layer, axis=None), np.sort(MEASURES["ned"].between(*weights).ratios.round(4), axis=None)
    )


def test_shown_units_are_in_the_order_of_their_distance_and_the_dead_are_last():
    networks = [one(1, density=0.15), one(2, density=0.15)]
    table = unit_distance_table(networks, [("a s1", "a s2")], generator(), ("ned",))
    first = table[table["layer"] == "1"].pivot(index="row", columns="column", values="distance").to_numpy()
    diagonal = first.diagonal()
    last = np.flatnonzero(diagonal).max()
    assert (np.diff(diagonal[: last + 1]) >= 0).all() and last < len(diagonal) - 1, "a case with dead pairs"
    assert (diagonal[last + 1 :] == 0).all()


def test_overlap_by_hand():
    first = np.array([True, True, True, False, False, False])
    second = np.array([True, False, False, True, False, False])
    found = overlap(first, second)
    assert found.iou == 1 / 4
    # 0, 1 or 2 common entries with chances 3, 9 and 3 of 15.
    expected = (9 * 1 / 4 + 3 * 2 / 3) / 15
    assert found.chance == pytest.approx(expected, abs=1e-12)
    variance = (9 / 16 + 3 * 4 / 9) / 15 - expected**2
    assert found.chance_std == pytest.approx(variance**0.5, abs=1e-12)
    nothing = np.zeros(6, dtype=bool)
    assert overlap(nothing, nothing) == (1, 1, 0) and overlap(first, nothing) == (0, 0, 0)
    assert overlap(~nothing, ~nothing) == (1, 1, 0) and overlap(first, ~nothing)[:2] == (0.5, 0.5)


@pytest.mark.parametrize("sizes", [(50, 5, 9), (400, 380, 30), (7, 6, 5)])
def test_overlap_by_chance_against_simulation(sizes):
    entries, first, second = sizes
    draws = np.random.default_rng(0)
    common = (draws.random((20000, entries)).argsort(1)[:, :second] < first).sum(1)
    values = common / (first + second - common)
    mean, deviation = chance_overlap(*sizes)
    assert mean == pytest.approx(values.mean(), abs=5 * values.std() / len(values) ** 0.5)
    assert deviation == pytest.approx(values.std(), rel=0.05)


def test_overlap_by_chance_of_a_large_layer_is_the_whole_sum():
    sizes = (78_400, 1568, 900)
    common = np.arange(901)
    chances = hypergeom.pmf(common, *sizes)
    expected = chances @ (common / (1568 + 900 - common))
    assert chance_overlap(*sizes)[0] == pytest.approx(expected, rel=1e-9)


def test_overlaps_of_all_pairs(networks):
    table = mask_overlap_table(networks)
    assert len(table) == 9 and set(table["layer"]) == {layer.name for layer in networks[0].layers}
    row = table[(table["first"] == "a s1") & (table["second"] == "b s3")].iloc[1]
    own, other = (networks[place].layers[1].effective for place in (0, 2))
    assert row["iou"] == (own & other).sum() / (own | other).sum()


def loops(first: list[np.ndarray], second: list[np.ndarray], is_convolutional: bool) -> list[float]:
    """The thesis' distance of each layer by sets, with all matchings tried."""
    found, order = [], None
    for place, (own, other) in enumerate(zip(first, second, strict=True)):
        if is_convolutional and order and len(order) == other.shape[1] and place < len(first) - 1:
            other = other[:, list(order)]
        own, other = ([set(np.flatnonzero(unit)) for unit in side] for side in (own, other))

        def jaccard(one: set, two: set) -> float:
            return len(one ^ two) / len(one | two) if one | two else 0.0

        costs = {
            order: sum(jaccard(unit, other[at]) for unit, at in zip(own, order, strict=True))
            for order in permutations(range(len(own)))
        }
        order = min(costs, key=lambda order: costs[order])
        pairs = [(one, other[at]) for one, at in zip(own, order, strict=True)]
        union = sum(len(one | two) for one, two in pairs)
        found.append(sum(len(one ^ two) for one, two in pairs) / union if union else 0.0)
    return found


def convolutional(seed: int) -> Network:
    torch.manual_seed(seed)
    model = nn.Sequential(
        MaskedConv2d(1, 4, 3, padding=1), nn.ReLU(), MaskedConv2d(4, 5, 3, padding=1), nn.ReLU(),
        MaskedConv2d(5, 5, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), MaskedLinear(5, 3),
    )  # fmt: skip
    return network(masked(model, 0.5, seed), (1, 4, 4), f"c s{seed}", "c", seed)


def small_dense(seed: int) -> Network:
    return network(masked(dense(9, 5, 6, 4), 0.5, seed), (9,), f"d s{seed}", "d", seed)


def test_the_thesis_variant_against_plain_loops():
    for make, is_convolutional in ((small_dense, False), (convolutional, True)):
        pair = [make(1), make(2)]
        sides = [[layer.kept for layer in own.layers if layer.kept.shape[2:] != (1, 1)] for own in pair]
        found = thesis_distances(*(thesis_kernels(own.layers) for own in pair))
        np.testing.assert_allclose(found, loops(*sides, is_convolutional), atol=1e-12)
        tables = distance_tables(pair, generator(), nulls=2, variant="thesis")
        np.testing.assert_allclose(tables["layer_distances"]["distance"], found)
        assert set(tables["layer_distances"]["measure"]) == {"ned"}
        assert set(tables["network_distances"]["reduction"]) == {"micro"}
        assert tables["network_distances"]["null_std"].notna().all()


def test_refusals(networks):
    with pytest.raises(UserError, match="distances need two networks or more, not 1; add runs"):
        distance_tables(networks[:1], generator())
    wide = network(dense(12, 8, 7, 4), SHAPE, "wide s0")
    for tables in (lambda own: distance_tables(own, generator()), mask_overlap_table):
        with pytest.raises(UserError, match=r"a s1 and wide s0 differ: layer 2 is 3 \(6x8\) and 3 \(7x8\); compare"):
            tables([networks[0], wide])
    with pytest.raises(UserError, match="unknown variant 'theses'; did you mean 'thesis'"):
        distance_tables(networks, generator(), variant="theses")
    with pytest.raises(UserError, match="unknown measure 'nnstd'"):
        distance_tables(networks, generator(), ("nnstd",))


def test_a_null_model_that_keeps_more_is_closer():
    """Units of one input each, at the same place: shuffled within the layer they part, within inputs they do not."""
    kernels = {"0": np.zeros((6, 6, 1))}
    kernels["0"][:, 0] = 1.0
    same = shuffled(kernels, generator(), "position")
    assert (same["0"] == kernels["0"]).all() and (shuffled(kernels, generator())["0"] != kernels["0"]).any()
    with pytest.raises(UserError, match="unknown null model 'positions'; did you mean 'position'"):
        shuffled(kernels, generator(), "positions")
