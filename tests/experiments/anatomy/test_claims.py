"""Published claims, tested on networks for which the answer is known."""

import numpy as np
import pandas as pd
import pytest

from Experiments.anatomy.claims import CLAIM_COLUMNS, CLAIMS, claims, difference
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


def verdict(table, beginning):
    return next(row["verdict"] for claim, row in table.iterrows() if claim.startswith(beginning))


def test_every_claim_has_a_row_with_all_columns():
    table = table_of([]).reset_index()
    assert list(table.columns) == list(CLAIM_COLUMNS) and len(table) == len(CLAIMS)


def test_difference_is_paired_by_sample():
    left = pd.DataFrame({"sample": [0, 1, 2], "top1": [0.5, 0.7, 0.9]})
    right = pd.DataFrame({"sample": [2, 1, 0], "top1": [0.8, 0.6, 0.4]})
    assert difference(left, right) == pytest.approx((0.1, 0.1, 0.1))
    mean, low, high = difference(left, right.assign(top1=[0.8, 0.6, 0.3]))
    half = 4.302652729911275 * np.std([0.2, 0.1, 0.1], ddof=1) / np.sqrt(3)
    assert (mean, low, high) == pytest.approx((0.4 / 3, 0.4 / 3 - half, 0.4 / 3 + half))
    assert difference(left[:1], right[2:]) == (pytest.approx(0.1), -np.inf, np.inf)
    assert np.isnan(difference(left[:1], right[:1])).all()


@pytest.mark.parametrize(("igq", "expected"), [(0.7, "holds"), (0.4, "fails")])
def test_the_best_random_quota(igq, expected):
    assert verdict(table_of([], random_igq=igq), "IGQ is the best") == expected


def test_erk_against_the_best_criterion():
    assert verdict(table_of([]), "random masks by ERK") == "fails"
    assert verdict(table_of([], random_erk=0.81), "random masks by ERK") == "holds"


def test_data():
    assert verdict(table_of([]), "masks need no data") == "fails"
    assert verdict(table_of([], snip=0.5), "masks need no data") == "holds"


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
    assert verdict(table, "the narrowest cut predicts") in ("holds", "in part")
    assert verdict(table, "the iterative mean difference") in ("fails", "undecided")
    assert verdict(table, "the Ramanujan property") == "not tested"


def test_collapse_of_synflow():
    assert verdict(table_of([]), "SynFlow leaves no layer empty") == "holds"
    assert verdict(table_of([network("synflow", 3, 0.1, empty_layers=1)]), "SynFlow leaves no layer empty") == "fails"


def test_places_are_levels():
    """A claim that holds at one level and fails at another holds in part, and the places are named."""
    rows = [network(name, s, v, compression=1000) for name, v in {**BASE, "random/igq": 0.3}.items() for s in range(3)]
    row = table_of(rows).loc["IGQ is the best random quota"]
    assert row["verdict"] == "in part" and row["where"] == "holds at 0.99; fails at 0.999"


def test_explained_by_effective_compression():
    rows = [network("snip", s, 0.9, compression=10, direct_compression=50.0 - s) for s in range(3)]
    share = table_of(rows).loc["effective compression explains accuracy better than direct"]
    assert share["verdict"] in ("holds", "fails", "undecided") and "effective" in share["effect"]
