"""Relations between statistics and accuracy: correlations, their intervals, and explained variance."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import spearmanr

from Experiments.anatomy.relations import correlations, explained, levels, spearman

PRUNERS = ("snip", "synflow", "random/erk", "random/igq")


def networks(**columns):
    """Two levels of four pruners with three samples each, whose accuracy is that of the pruner and the level."""
    rows = [
        {
            "pruner": pruner, "sample": sample, "iterations": 100, "target_compression": float(compression),
            "target_kept": 1000 // compression, "kept_effective": 1000 // compression, "control": "none",
            "direct_compression": compression * (1 + quality), "effective_compression": float(compression),
            "top1": 0.9 - 0.1 * np.log10(compression) - 0.05 * quality + 0.001 * sample, "quality": -quality,
        }
        for compression in (10, 100)
        for quality, pruner in enumerate(PRUNERS)
        for sample in range(3)
    ]  # fmt: skip
    return pd.DataFrame(rows).assign(**columns)


@given(st.lists(st.tuples(st.integers(-5, 5), st.integers(-5, 5)), min_size=3, max_size=30))
def test_spearman_is_that_of_scipy(pairs):
    left, right = np.array(pairs, dtype=float).T
    if len(set(left)) > 1 and len(set(right)) > 1:
        assert spearman(left, right) == pytest.approx(spearmanr(left, right).statistic, abs=1e-12)
    else:
        assert np.isnan(spearman(left, right))


def test_infinite_values_have_ranks():
    """The logarithm of no path is -inf, the condition of a singular kernel inf."""
    assert spearman(np.array([-np.inf, 0, 1, np.inf]), np.array([1.0, 2, 3, 4])) == pytest.approx(1)


def test_a_statistic_that_orders_the_pruners():
    table = correlations(networks(), ["quality"], np.random.default_rng(0), 200)
    assert list(table["target_compression"]) == [10, 100]
    assert (table["spearman"] > 0.9).all() and (table["low"] > 0.5).all() and (table["high"] <= 1).all()
    assert list(table["networks"]) == [12, 12] and list(table["distinct"]) == [4, 4]


def test_a_constant_statistic_has_no_correlation():
    table = correlations(networks(constant=1), ["constant"], np.random.default_rng(0), 50)
    assert table[["spearman", "low", "high"]].isna().all().all() and (table["distinct"] == 1).all()


def test_unknown_values_are_left_out():
    data = networks()
    data["partly"] = data["quality"].where(data["sample"] > 0).astype(float)
    (first, _) = correlations(data, ["partly"], np.random.default_rng(0), 50)["networks"]
    assert first == 8


def test_intervals_come_from_pruners():
    """Many samples of few pruners give no interval: resamples of a single pruner are all the same networks."""
    data = networks(pruner="snip", noise=np.arange(24) % 5)
    table = correlations(data, ["noise"], np.random.default_rng(0), 100)
    assert table["low"].isna().all() and table["high"].isna().all() and table["spearman"].notna().all()


def test_the_same_seed_gives_the_same_intervals():
    tables = [correlations(networks(noise=np.arange(24) % 7), ["noise"], np.random.default_rng(3), 100) for _ in "ab"]
    pd.testing.assert_frame_equal(*tables)


def test_a_level_has_networks_that_reach_the_target():
    data = networks()
    data.loc[data["pruner"] == "synflow", "kept_effective"] *= 2
    data.loc[data["pruner"] == "snip", "control"] = "shuffle"
    for _, group in levels(data):
        assert set(group["pruner"]) == {"random/erk", "random/igq"}


def test_explained_variance():
    """Accuracy falls with direct compression exactly; effective compression tells levels apart, but not pruners."""
    data = networks()
    data["top1"] = 1 - 0.1 * np.log10(data["direct_compression"])
    share = explained(data).set_index("against")["share"]
    assert share["direct_compression"] == pytest.approx(1)
    within = data.groupby("target_compression")["top1"].transform("mean")
    of_levels = 1 - ((data["top1"] - within) ** 2).sum() / ((data["top1"] - data["top1"].mean()) ** 2).sum()
    assert share["effective_compression"] == pytest.approx(of_levels)


def test_one_level_explains_nothing():
    data = networks()
    longer = networks(iterations=400)
    both = pd.concat([data, longer[longer["target_compression"] == 10]])
    assert explained(both).equals(explained(data))


def test_lengths_of_training_are_apart():
    both = pd.concat([networks(), networks(iterations=400)])
    assert list(explained(both)["iterations"]) == [100, 100, 400, 400]
    assert len(correlations(both, ["quality"], np.random.default_rng(0), 20)) == 4
