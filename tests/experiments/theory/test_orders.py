"""One order of weights says what pruning to every single compression says: counts, dead units, rank, disconnection."""

from decimal import ROUND_CEILING, Decimal

import numpy as np
import torch
from conftest import layer_counts
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import NETWORKS, make

from Experiments.theory.runs.effective_gap import gap_table, largest_gap
from Experiments.theory.runs.levels import LEVEL_COLUMNS, _rows
from Experiments.theory.runs.order import Order
from Layers import Masks, prunable
from Pruners.allocation import allocate
from Utils.config.target import Target
from Utils.connectivity.effective import counts_by_kept, effective_masks
from Utils.connectivity.statistics.structural_rank import rank_curve, structural_rank
from Utils.sparsity.measure import measure

CASES = st.tuples(st.sampled_from(sorted(NETWORKS)), st.integers(0, 10**6))


def ordered(name: str, seed: int) -> tuple:
    """A network, its input shape, scores with ties, and its order."""
    torch.manual_seed(0)
    model, shape = make(name)
    generator = torch.Generator().manual_seed(seed)
    scores = {
        parameter: torch.randint(0, 30, weight.shape, generator=generator).double()
        for parameter, (weight, _) in prunable(model).items()
    }
    return model, shape, scores, Order.of(model, scores, shape)


def keeping(count: int, total: int) -> Target:
    """A target that keeps exactly so many weights."""
    pruned = Decimal(total - count) / total
    target = Target(pruned.quantize(Decimal("1e-12"), ROUND_CEILING))
    assert target.kept(total) == count
    return target


@settings(deadline=None, max_examples=20)
@given(CASES, st.decimals(0, 2, places=2))
def test_counts_of_a_level_are_those_of_masks(case, exponent):
    model, shape, scores, order = ordered(*case)
    target = Target(com_exp=min(exponent, Decimal(order.total).log10()))
    masks = allocate(model, scores, target, shape, "direct")
    assert target.com_exp is not None
    rows = _rows(order, target.com_exp)
    assert [row["kept_direct"] for row in rows] == layer_counts(masks)
    assert [row["kept_effective"] for row in rows] == layer_counts(Masks(effective_masks(model, shape, masks)))
    assert [row["layer"] for row in rows] == list(masks) and set(rows[0]) == set(LEVEL_COLUMNS)
    assert all(row["size"] == masks[row["layer"]].numel() for row in rows)


@settings(deadline=None, max_examples=20)
@given(CASES, st.floats(0, 1))
def test_a_row_of_the_gap_is_the_measurement_of_a_mask(case, place):
    model, shape, scores, order = ordered(*case)
    effective = counts_by_kept(order.effective).numpy()
    table = gap_table(order, effective, rank_curve(model, order.effective, shape), ())
    row = table.iloc[round(place * (len(table) - 1))]
    masks = allocate(model, scores, keeping(int(row["kept_direct"]), order.total), shape, "direct")
    masks.install(model)
    measured = measure(model, shape).totals
    for column in ("kept_direct", "kept_effective", "direct_compression", "effective_compression", "dead_units"):
        assert row[column] == measured[column], column
    assert row["structural_rank"] == structural_rank(model, shape, masks)
    assert row["dead_share"] == measured["dead_units"] / max(1, len(order.unit_ranks()))
    assert (row["kept_direct"] >= order.path) == (not measured["collapsed"])


@settings(deadline=None, max_examples=15)
@given(CASES)
def test_a_path_is_lost_exactly_at_the_disconnection(case):
    model, shape, scores, order = ordered(*case)
    for kept in (order.path, order.path - 1):
        if kept >= 1:
            allocate(model, scores, keeping(kept, order.total), shape, "direct").install(model)
            assert measure(model, shape).totals["collapsed"] == (kept < order.path)
            Masks({name: torch.ones_like(mask) for name, mask in Masks.of(model).items()}).install(model)


@settings(deadline=None, max_examples=15)
@given(CASES)
def test_a_layer_is_empty_exactly_below_what_it_needs(case):
    model, shape, scores, order = ordered(*case)
    for layer, kept in order.needed().items():
        for count in (kept, kept - 1):
            if count:
                masks = allocate(model, scores, keeping(count, order.total), shape, "direct")
                assert bool(masks[layer].any()) == (count == kept)


@settings(deadline=None, max_examples=15)
@given(CASES)
def test_the_largest_gap_is_the_largest_of_all(case):
    *_, order = ordered(*case)
    effective = counts_by_kept(order.effective).numpy()
    ratios = {kept: kept / effective[kept] for kept in range(order.total + 1) if effective[kept]}
    gap = largest_gap(effective)
    assert gap.ratio == max(ratios.values()) >= 1 and ratios[gap.kept] == gap.ratio
    assert gap.kept == min(kept for kept, ratio in ratios.items() if ratio == gap.ratio)


def test_the_table_thins_a_large_order_and_keeps_changes():
    generator = torch.Generator().manual_seed(0)
    ranks = {"a": torch.randperm(50_000, generator=generator).int() + 1}
    order = Order(ranks, {"a": ranks["a"].reshape(500, 100)}, ("a",), 7)
    table = gap_table(order, np.arange(50_001), np.array([7, 900]), (7, 6, 33_333, 0))
    assert 200 < len(table) <= 303
    kept = table["kept_direct"].tolist()
    assert kept == sorted(set(kept), reverse=True) and kept[0] == 50_000 and kept[-1] == 1
    assert {6, 7, 33_333} <= set(kept) and 0 not in kept
    rank = table.set_index("kept_direct")["structural_rank"]
    assert rank[7] == 1 and rank[6] == 0 and rank[50_000] == 2 and (rank.diff().dropna() <= 0).all()
    units = ranks["a"].reshape(500, 100).amax(1)
    dead = table.set_index("kept_direct")["dead_units"]
    assert dead[33_333] == int((units < 50_000 - 33_333 + 1).sum()) and dead[6] == int((units < 49_995).sum()) > 490


def test_a_network_without_a_path_has_no_gap():
    gap = largest_gap(np.zeros(5, dtype=np.int64))
    assert gap.kept == 4 and np.isnan(gap.ratio)
