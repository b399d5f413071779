"""Rows of searches for masks: `search.csv`, `training.csv` and `summary.csv`, by independent calculations."""

import math

import pandas as pd
import pytest
import torch
from commands import execute, runs
from conftest import rows_of, run_folder
from searches import EPOCHS, FC, STEPS, TOTAL, WORDS, Snapshot, Watched, effective_count, left_after, watched

from Experiments.common.network import load_data
from Experiments.common.search_record import COLUMNS
from Experiments.registry import EXPERIMENTS
from Utils.data.split import Split

KINDS = {
    "gem-miner": ["--freeze_every=1"],
    "unflag": ["--freeze_every=2", "--unflag"],
    "soft": ["--freeze_every=1", "--quantize=0", "--lr=1"],
    "probabilistic": ["--freeze_every=1", "--rounding=probabilistic"],
    "hypercube": ["--algorithm=hypercube"],
    "edge-popup": ["--algorithm=edge-popup"],
    "iterative": ["--algorithm=iterative-edge-popup", "--freeze_every=1"],
}


ONE_IMAGE = 1 / 360 + 1e-9
"""Accuracy of one test image, which another order of sums may change."""


@pytest.fixture(scope="module", params=KINDS)
def searched(request) -> Watched:
    """A run of each kind."""
    with pytest.warns() if request.param in ("probabilistic",) else pytest.MonkeyPatch.context():
        return watched(FC, *KINDS[request.param])


def differences(before: Snapshot, after: Snapshot) -> int:
    return sum(int((after.masks[name] != mask).sum()) for name, mask in before.masks.items())


def accuracy(watched: Watched, factors: dict[str, torch.Tensor], test: Snapshot) -> float:
    """Accuracy of the network of dense layers whose weights are multiplied by factors."""
    data = load_data(watched.settings.data_spec, torch.device("cpu"))
    assert isinstance(data.test, Split)
    x, labels = data.normalised(data.test.images).flatten(1), data.test.labels
    *hidden, last = [test.weights[name] * factors[name] for name in test.weights]
    for matrix in hidden:
        x = torch.relu(x @ matrix.T)
    return float(((x @ last.T).argmax(1) == labels).double().mean())


def test_a_run_has_a_row_for_each_epoch_and_one_of_the_rounded_mask(searched):
    rows, every = searched.rows(), range(1, EPOCHS + 1)
    assert list(searched.outcome.tables["search"].columns) == list(COLUMNS)
    assert [row["phase"] for row in rows] == ["search"] * EPOCHS + ["rounded"] + ["fine-tune"] * EPOCHS
    assert [row["epoch"] for row in rows] == [*every, EPOCHS, *(EPOCHS + epoch for epoch in every)]
    assert [row["iteration"] for row in rows] == [row["epoch"] * STEPS for row in rows]


def test_each_row_is_about_the_network_that_was_tested(searched):
    search, tuned = searched.of("search"), searched.of("fine-tune")
    for row, test, before in zip(searched.rows("search"), search[1:], search[:-1], strict=True):
        rounded = {name: test.free[name] & mask for name, mask in test.masks.items()}
        if not searched.settings.options.quantize:
            rounded = {name: test.free[name] & (score > 0.5) for name, score in test.scores.items()}
        assert row["density"] == sum(int(mask.sum()) for mask in rounded.values()) / TOTAL
        assert row["free_density"] == test.free.kept / TOTAL
        scored = {name: test.free[name] & (score != 0) for name, score in test.scores.items()}
        assert row["density_before"] == sum(int(mask.sum()) for mask in scored.values()) / TOTAL
        assert row["effective_density"] == effective_count(rounded) / TOTAL
        assert row["effective_density_before"] == effective_count(scored) / TOTAL
        if searched.settings.options.quantize:
            assert row["flips"] == differences(before, test)
            assert test.masks == rounded
    for row, test in zip(searched.rows("rounded", "fine-tune"), tuned, strict=True):
        assert test.masks == searched.masks
        assert row["density"] == searched.masks.kept / TOTAL
        assert row["effective_density"] == effective_count(searched.masks) / TOTAL
        assert all(math.isnan(row[name]) for name in ("soft_top1", "density_before", "free_density"))
    threshold = 0 if searched.settings.options.quantize else 0.5
    last = {name: mask & (search[-1].scores[name].abs() > threshold) for name, mask in search[-1].masks.items()}
    flips = sum(int((searched.masks[name] != mask).sum()) for name, mask in last.items())
    assert searched.rows("rounded")[0]["flips"] == flips
    assert not any(row["flips"] for row in searched.rows("fine-tune"))


def test_accuracies_before_and_after_rounding(searched):
    is_soft = not searched.settings.options.quantize
    for row, test in zip(searched.rows("search"), searched.of("search")[1:], strict=True):
        factors = {name: mask.float() for name, mask in test.masks.items()}
        if is_soft:
            soft = {name: score * test.free[name] for name, score in test.scores.items()}
            assert row["soft_top1"] == test.top1 == pytest.approx(accuracy(searched, soft, test), abs=ONE_IMAGE)
            factors = {name: (test.free[name] & (score > 0.5)).float() for name, score in test.scores.items()}
        else:
            assert row["soft_top1"] == row["top1"] == test.top1
        assert row["top1"] == pytest.approx(accuracy(searched, factors, test), abs=ONE_IMAGE)
    if is_soft:
        assert any(row["soft_top1"] != row["top1"] for row in searched.rows("search"))
    (rounded,) = searched.rows("rounded")
    final = {name: mask.float() for name, mask in searched.masks.items()}
    assert rounded["top1"] == pytest.approx(accuracy(searched, final, searched.of("fine-tune")[0]), abs=ONE_IMAGE)


def test_the_penalty_is_that_of_the_scores_of_the_row(searched):
    options = searched.settings.options
    for row, test in zip(searched.rows("search"), searched.of("search")[1:], strict=True):
        squares = sum(float(score.double().square().sum()) for score in test.scores.values())
        expected = options.penalty_strength * squares if options.penalty == "l2" else 0
        assert row["penalty"] == pytest.approx(expected, rel=1e-6)
    assert not any(row["penalty"] for row in searched.rows("rounded", "fine-tune"))


def test_training_goes_from_the_search_to_fine_tuning(searched):
    table, rows = searched.outcome.training, searched.rows("search", "fine-tune")
    assert table["iteration"].tolist() == [STEPS * epoch for epoch in range(2 * EPOCHS + 1)]
    assert table["top1"].tolist()[1:] == [row["soft_top1"] if row["phase"] == "search" else row["top1"] for row in rows]
    assert table["seconds"].is_monotonic_increasing


def test_the_summary_of_a_run(searched):
    summary, search = searched.outcome.summary, searched.rows("search")
    assert summary["search_top1"] == search[-1]["soft_top1"]
    assert summary["rounded_top1"] == searched.rows("rounded")[0]["top1"]
    assert summary["top1"] == searched.rows("fine-tune")[-1]["top1"]
    assert summary["kept_direct"] == searched.masks.kept and summary["prunable"] == TOTAL
    assert summary["kept_effective"] == effective_count(searched.masks)
    last = searched.freezings[-1].kept if searched.freezings else TOTAL
    assert summary["free_kept"] == last and not searched.outcome.error


def test_a_search_of_steps_that_are_no_whole_epochs():
    searched = watched(FC, "--iterations=10", "--freeze_every=1", "--evaluate_every=4")
    assert [row["iteration"] for row in searched.rows("search")] == [4, 8, 10]
    assert [row["epoch"] for row in searched.rows("search")] == [2, 3, 4]
    # After the second, the third, and the last epoch of a single step.
    assert [free.kept for free in searched.freezings] == left_after(0.1, TOTAL, 3)
    assert [row["iteration"] for row in searched.rows("fine-tune")] == [14, 18, 20]


def test_files_of_a_run_with_sanity_checks(tmp_path):
    words = [*WORDS, FC, "--freeze_every=2", "--sanity_checks", "random", "shuffle"]
    assert execute(tmp_path, *words) == 0
    (row,) = rows_of(tmp_path).to_dict("records")
    folder = run_folder(tmp_path, pd.Series(row))
    rows = pd.read_csv(folder / "search.csv")
    expected = {"search": EPOCHS, "rounded": 1, "fine-tune": EPOCHS, "shuffle": EPOCHS, "random": EPOCHS}
    assert rows["phase"].value_counts().to_dict() == expected
    assert row["pruner"] == "gem-miner" and row["experiment"] == "supermask"
    for check in ("shuffle", "random"):
        assert row[f"{check}_top1"] == rows[rows["phase"] == check]["top1"].iloc[-1]
    assert len(pd.read_csv(folder / "training.csv")) == 2 * EPOCHS + 1


@pytest.mark.parametrize(("words", "count"), [
    ("", 2), ("--sanity_checks=shuffle,invert", 4), ("--fine_tune_length=0 --sanity_checks=shuffle", 1),
    ("--fine_tune_length=2.5 --sanity_checks=shuffle", 6), ("--algorithm=smart-ratio --sanity_checks=random", 2),
])  # fmt: skip
def test_the_estimate_counts_all_trainings(words, count):
    (settings,) = runs("--data=digits", "--experiment=supermask", *words.split())
    assert EXPERIMENTS["supermask"].trainings(settings) == count
