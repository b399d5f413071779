"""Winning tickets from curves and from stored runs; scores of supermasks against all roundings."""

from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from commands import call
from conftest import rows_of, run_folder
from hypothesis import given, settings
from hypothesis import strategies as st

from Experiments.comparison.networks import Network
from Experiments.comparison.structure.scores import Scores, rounding_distances, score_histograms
from Experiments.comparison.structure.tables import score_tables
from Experiments.comparison.structure.tickets import ticket_table, winning_ticket


def curve(*losses: float, val: bool = True) -> pd.DataFrame:
    steps = range(0, 10 * len(losses), 10)
    return pd.DataFrame({"iteration": steps, "val_loss": losses if val else np.nan, "test_loss": losses[::-1]})


@pytest.mark.parametrize(
    "ticket, original, wins",
    [
        ((3, 1, 2), (3, 2, 1), True),
        ((3, 2, 1), (3, 1, 2), False),
        ((3, 1.01, 2), (3, 2, 1), True),
        ((3, 1.02, 2), (3, 2, 1), False),
        ((3, 1, 1), (3, 1, 2), True),
    ],
)
def test_tickets_win_by_time_and_loss(ticket, original, wins):
    found = winning_ticket(curve(*ticket), curve(*original))
    assert found["is_winning"] is wins and found["loss_of"] == "val"
    assert found["best_loss"] == min(ticket) and found["best_iteration"] == 10 * ticket.index(min(ticket))
    assert found["original_best_iteration"] == 10 * original.index(min(original))


def test_without_validation_the_test_set_decides():
    found = winning_ticket(curve(3, 2, 1, val=False), curve(3, 1, 2))
    assert found["loss_of"] == "test" and found["best_iteration"] == 0 and found["original_best_iteration"] == 10


def test_unknown_losses_are_passed_over():
    assert winning_ticket(curve(np.nan, 2, 1), curve(np.nan, 1, 1))["best_iteration"] == 20


def test_stored_runs_meet_the_dense_one_of_their_sample(tmp_path: Path):
    assert call(tmp_path, "--pruner", "dense", "snip", "--target_sparsity=0.5", "--sample=0,1") == 0
    networks = [
        Network(f"{row['pruner']} s{row['sample']}", row["pruner"], row["sample"], torch.nn.Flatten(), (1, 8, 8),
                str(run_folder(tmp_path, row)), row["run"])
        for _, row in rows_of(tmp_path).iterrows()
    ]  # fmt: skip
    table = ticket_table(networks)
    assert sorted(zip(table["network"], table["original"], strict=True)) == [
        ("snip s0", "dense s0"), ("snip s1", "dense s1"),
    ]  # fmt: skip
    for _, one in table.iterrows():
        tables = {network.name: pd.read_csv(Path(network.folder) / "training.csv") for network in networks}
        ticket, dense = tables[one["network"]], tables[one["original"]]
        column = f"{one['loss_of']}_loss"
        assert one["best_loss"] == ticket[column].min() and one["original_best_loss"] == dense[column].min()
        first = [own["iteration"][own[column] == own[column].min()].min() for own in (ticket, dense)]
        assert [one["best_iteration"], one["original_best_iteration"]] == first
        assert one["is_winning"] == (first[0] <= first[1] and ticket[column].min() < 1.02 * dense[column].min())
    alone = ticket_table([network for network in networks if network.group == "snip"])
    assert alone.empty and "is_winning" in alone


def layer(*values: float, frozen: int = 0) -> Scores:
    return Scores(np.array(values), np.arange(len(values)) >= frozen)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=5), st.integers(0, 2), st.sampled_from([0.3, 0.5]))
@settings(max_examples=50, deadline=None)
def test_distances_are_means_over_all_roundings(values, frozen, threshold):
    score, free = layer(*values, frozen=frozen)
    (found,) = rounding_distances({"x": Scores(score, free)}, threshold).itertuples()
    masks = [np.array(mask) & free for mask in product((False, True), repeat=len(values))]
    kept = np.where(free, score, 0)
    # Frozen entries are 0 in several of the products, so probabilities are over distinct masks.
    masks = [np.array(mask) for mask in {tuple(mask) for mask in masks}]
    chances = np.array([np.prod(np.where(mask, kept, 1 - kept)) for mask in masks])
    naive = free & (score > threshold)
    far = np.array([(mask != naive).sum() for mask in masks])
    assert chances.sum() == pytest.approx(1)
    assert found.naive_to_probabilistic == pytest.approx(chances @ far)
    variance = chances @ (far - chances @ far) ** 2
    assert found.naive_to_probabilistic_sd**2 == pytest.approx(variance, abs=1e-12)
    pairs = [[(one != other).sum() for other in masks] for one in masks]
    assert found.two_probabilistic == pytest.approx(chances @ np.array(pairs) @ chances)
    assert (found.naive_kept, found.size) == (naive.sum(), len(values))
    assert found.probabilistic_kept == pytest.approx(chances @ np.array([mask.sum() for mask in masks]))


def test_histograms_count_free_and_frozen_entries():
    table = score_histograms({"x": layer(0.0, 0.26, 0.5, 1.0, 1.7, -0.2, frozen=2), "y": layer(0.9)}, bins=4)
    part = table[table["layer"] == "x"]
    assert part["frozen"].tolist() == [1, 1, 0, 0] and part["free"].tolist() == [1, 0, 1, 2]
    assert part["low"].tolist() == [0, 0.25, 0.5, 0.75] and part["high"].tolist() == [0.25, 0.5, 0.75, 1]
    assert table[table["layer"] == "y"]["free"].tolist() == [0, 0, 0, 1]


def test_tables_name_the_networks_that_have_scores():
    networks = [
        Network(f"{group} s0", group, 0, torch.nn.Flatten(), (1, 8, 8), "", "") for group in ("gem-miner", "snip")
    ]
    found = score_tables(networks, {"gem-miner s0": {"x": layer(0.2, 0.6), "y": layer(0.9)}}, threshold=0.7)
    for table in found.values():
        assert set(table["network"]) == {"gem-miner s0"} and table["layer"].unique().tolist() == ["x", "y"]
    assert found["rounding_distances"]["naive_kept"].tolist() == [0, 1]
    assert all(table.empty for table in score_tables(networks, {}).values())
