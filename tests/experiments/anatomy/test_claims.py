"""Published claims, tested on networks for which the answer is known."""

import numpy as np
import pandas as pd
import pytest

from Experiments.anatomy.claims import CLAIM_COLUMNS, CLAIMS, claims
from Experiments.anatomy.differences import difference
from Experiments.anatomy.relations import correlations, explained

STATISTICS = ["structural_rank", "imdb", "difference_of_bound", "node_path_balance"]

BASE = {"random": 0.5, "random/erk": 0.6, "random/igq": 0.7, "random/snip": 0.65, "snip": 0.8, "synflow": 0.55}
"""Top-1 of each pruner at 99%."""


def network(pruner, sample, top1, compression=100, control="none", **columns):
    values = {
        "pruner": pruner, "sample": sample, "control": control, "iterations": 100, "empty_layers": 0,
        "target_compression": float(compression), "target_kept": 1000, "kept_effective": 1000,
        "direct_compression": 50.0, "effective_compression": float(compression), "top1": top1 + 0.001 * sample,
    }  # fmt: skip
    return values | dict.fromkeys(STATISTICS, 0.0) | columns


def table_of(rows, **accuracies):
    """The table of claims about networks of all pruners and further rows, by claim and source."""
    means = BASE | {name.replace("_", "/"): value for name, value in accuracies.items()}
    data = pd.DataFrame(
        [*(network(name, sample, value) for name, value in means.items() for sample in range(3)), *rows]
    )
    relations = correlations(data, STATISTICS, np.random.default_rng(0), 200)
    return claims(data, relations, explained(data)).set_index("claim")


def table_of_intervals(**ends):
    """The table of claims where the correlations at 99% have these intervals."""
    rows = [
        {
            "iterations": 100, "target_compression": 100.0, "statistic": name, "networks": 18, "distinct": 9,
            "spearman": (low + high) / 2, "low": low, "high": high,
        } for name, (low, high) in ends.items()
    ]  # fmt: skip
    data = pd.DataFrame([network(name, s, v) for name, v in BASE.items() for s in range(3)])
    return claims(data, pd.DataFrame(rows), explained(data)).set_index("claim")


def verdict(table, beginning):
    return next(row["verdict"] for claim, row in table.iterrows() if claim.startswith(beginning))


def test_every_claim_has_a_row_with_all_columns():
    table = table_of([]).reset_index()
    assert list(table.columns) == list(CLAIM_COLUMNS) and len(table) == len(CLAIMS)


def test_the_interval_of_differences():
    assert difference(pd.Series([0.1, 0.1, 0.1])) == pytest.approx((0.1, 0.1, 0.1))
    half = 4.302652729911275 * np.std([0.2, 0.1, 0.1], ddof=1) / np.sqrt(3)
    assert difference(pd.Series([0.1, 0.2, 0.1])) == pytest.approx((0.4 / 3, 0.4 / 3 - half, 0.4 / 3 + half))
    assert difference(pd.Series([0.1])) == (0.1, -np.inf, np.inf)


@pytest.mark.parametrize(("igq", "expected"), [(0.7, "holds"), (0.4, "fails")])
def test_the_best_random_quota(igq, expected):
    assert verdict(table_of([], random_igq=igq), "IGQ is the best") == expected


def test_erk_against_the_best_criterion():
    assert verdict(table_of([]), "random masks by ERK") == "fails"
    assert verdict(table_of([], random_erk=0.81), "random masks by ERK") == "holds"


def test_data():
    """Random masks with the densities of SNIP have seen data; SynFlow has not."""
    assert verdict(table_of([]), "masks need no data") == "fails"
    assert verdict(table_of([], snip=0.5), "masks need no data") == "holds"
    assert verdict(table_of([], random_snip=0.9), "masks need no data") == "fails"
    assert verdict(table_of([], synflow=0.9), "masks need no data") == "holds"


def test_dense_networks_are_compared_with_nothing():
    dense = [network("dense", sample, 0.9, compression=1) for sample in range(3)]
    assert table_of(dense).equals(table_of([]))


@pytest.mark.parametrize(("control", "claim"), [
    ("shuffle", "positions inside layers do not matter (masks shuffled)"),
    ("reinitialize", "initial weights do not matter"),
])  # fmt: skip
def test_controls(control, claim):
    """A control is compared with the same pruners and samples only."""
    worse = [network("snip", sample, 0.6, control=control) for sample in range(2)]
    same = [network("snip", sample, 0.8, control=control) for sample in range(2)]
    assert verdict(table_of([]), claim) == "not tested"
    assert verdict(table_of(worse), claim) == "fails"
    table = table_of(same)
    assert verdict(table, claim) == "holds" and table.loc[table.index.str.startswith(claim), "networks"].iloc[0] == 4


def test_random_positions_in_the_densities_of_a_pruner():
    claim = "positions inside layers do not matter (random"
    assert verdict(table_of([]), claim) == "fails"
    assert verdict(table_of([], random_snip=0.8), claim) == "holds"


def test_statistics():
    order = {name: rank for rank, name in enumerate(sorted(BASE, key=BASE.__getitem__))}
    rows = [
        network(name, sample, value, structural_rank=order[name] + 0.01 * sample, imdb=(7 * sample) % 3)
        for name, value in BASE.items() for sample in range(3, 8)
    ]  # fmt: skip
    table = table_of(rows)
    assert verdict(table, "the narrowest cut predicts") == "holds"
    assert verdict(table, "the iterative mean difference") == "fails"
    assert verdict(table, "the Ramanujan property") == "not tested"


def test_places_are_levels():
    """A claim that holds at one level and fails at another is mixed, and the places are named."""
    rows = [network(name, s, v, compression=1000) for name, v in {**BASE, "random/igq": 0.3}.items() for s in range(3)]
    row = table_of(rows).loc["IGQ is the best random quota"]
    assert row["verdict"] == "mixed" and row["where"] == "holds at 0.99; fails at 0.999"


def test_the_best_has_several_samples():
    """A single network of another pruner does not take the place of those with three samples."""
    rows = [network(name, s, v, compression=1000) for name, v in BASE.items() for s in range(3) if name != "random"]
    row = table_of([*rows, network("random", 0, 0.69, compression=1000)]).loc["IGQ is the best random quota"]
    assert row["effect"].endswith("against random/snip") and row["verdict"] == "holds"


def test_controls_are_paired_by_pruner():
    """Samples that have other pruners do not change a difference that is the same for every pruner."""
    worse = [network("snip", s, 0.7, control="shuffle") for s in range(3)]
    worse += [network("synflow", 0, 0.45, control="shuffle")]
    (claim,) = [one for one in table_of([]).index if "(masks shuffled)" in one]
    row = table_of(worse).loc[claim]
    assert row["effect"] == "0.99: -0.100 (one pair), -0.100 of snip, -0.100 of synflow"
    assert row["networks"] == 4


def test_what_does_not_matter_changes_nothing_for_better_or_worse():
    (claim,) = [one for one in table_of([]).index if "(masks shuffled)" in one]
    for top1, expected in {0.4: "fails", 0.795: "holds", 0.805: "holds", 0.9: "fails"}.items():
        rows = [network("snip", s, top1, control="shuffle") for s in range(3)]
        assert table_of(rows).loc[claim, "verdict"] == expected


@pytest.mark.parametrize(("ends", "expected"), [
    ((0.6, 0.9), "holds"), ((-0.9, -0.6), "fails"), ((0.1, 0.4), "fails"), ((0.2, 0.7), "undecided"),
])  # fmt: skip
def test_a_claim_may_have_a_sign(ends, expected):
    table = table_of_intervals(node_path_balance=ends)
    assert verdict(table, "the balance of nodes") == expected


def test_one_of_several_statistics_is_enough():
    claim = "topological measures"
    assert verdict(table_of_intervals(structural_rank=(0.4, 0.9), imdb=(-0.8, -0.6)), claim) == "holds"
    assert verdict(table_of_intervals(structural_rank=(0.3, 0.45), imdb=(0.0, 0.8)), claim) == "undecided"
    assert verdict(table_of_intervals(structural_rank=(0.3, 0.45), imdb=(-0.2, 0.3)), claim) == "fails"


@pytest.mark.parametrize(("low", "high", "expected"), [
    (-0.4, 0.4, "holds"), (-0.7, 0.2, "undecided"), (0.1, 0.9, "fails"), (-0.9, -0.6, "fails"),
])  # fmt: skip
def test_unrelated(low, high, expected):
    assert verdict(table_of_intervals(difference_of_bound=(low, high)), "the Ramanujan property") == expected


def test_a_longer_training_is_named():
    rows = [
        network(name, s, v) | {"iterations": 900} for name, v in {**BASE, "random/igq": 0.3}.items() for s in range(3)
    ]
    row = table_of(rows).loc["IGQ is the best random quota"]
    assert row["where"] == "holds at 0.99; fails at 0.99 after 900 steps"


def test_one_pair_has_no_interval():
    rows = [network(name, 0, v, compression=1000) for name, v in BASE.items()]
    row = table_of(rows).loc["random masks by ERK are enough"]
    assert row["where"] == "fails at 0.99; undecided at 0.999"
    assert row["effect"].endswith("0.999: -0.200 (one pair) random/erk against snip")


def test_explained_by_effective_compression():
    rows = [network("snip", s, 0.9, compression=10, direct_compression=50.0 - s) for s in range(3)]
    share = table_of(rows).loc["effective compression explains accuracy better than direct"]
    assert share["verdict"] in ("holds", "fails", "undecided") and "effective" in share["effect"]
