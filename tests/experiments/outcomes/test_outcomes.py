"""Outcomes of compared networks: calibration, agreement, samples and operations against calculations by hand."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from commands import call
from conftest import rows_of, run_folder
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from scipy.special import softmax
from torch import nn

from Experiments.comparison import samples
from Experiments.comparison.networks import Network
from Experiments.comparison.outcomes import agreement, calibration, tables
from Experiments.comparison.outcomes.operations import operations_of
from Utils.errors import UserError
from Utils.results.predictions import PREDICTIONS, Predictions

SEEDS = st.integers(0, 2**32 - 1)


def drawn(seed: int, images: int = 40, classes: int = 4) -> tuple[np.ndarray, np.ndarray]:
    """Log-probabilities of random logits, and random labels."""
    generator = np.random.default_rng(seed)
    logits = generator.normal(scale=3, size=(images, classes))
    return np.log(softmax(logits, axis=1)), generator.integers(0, classes, images)


@given(SEEDS)
def test_scores_of_probabilities_are_sums_over_images(seed):
    logs, labels = drawn(seed)
    probabilities = np.exp(logs)
    nll = -sum(row[label] for row, label in zip(logs, labels, strict=True)) / len(labels)
    assert calibration.negative_log_likelihood(logs, labels) == pytest.approx(nll, abs=1e-12)
    brier = sum(((row - np.eye(4)[label]) ** 2).sum() for row, label in zip(probabilities, labels, strict=True))
    assert calibration.brier_score(probabilities, labels) == pytest.approx(brier / len(labels), abs=1e-12)


def test_scores_know_the_best_and_the_worst_prediction():
    sure, labels = np.eye(3)[[0, 1, 2]], np.array([0, 1, 2])
    assert calibration.brier_score(sure, labels) == 0 and calibration.brier_score(sure, labels[[1, 2, 0]]) == 2


@given(SEEDS, st.integers(1, 20))
def test_the_calibration_error_is_that_of_a_loop_over_bins(seed, bins):
    logs, labels = drawn(seed)
    confidences, is_correct = np.exp(logs).max(1), logs.argmax(1) == labels
    error = 0.0
    for number in range(bins):
        inside = (confidences > number / bins) & (confidences <= (number + 1) / bins)
        if inside.any():
            error += inside.mean() * abs(is_correct[inside].mean() - confidences[inside].mean())
    curve = calibration.reliability_curve(confidences, is_correct, bins)
    assert calibration.expected_calibration_error(curve) == pytest.approx(error, abs=1e-12)
    assert curve["count"].sum() == len(labels) and len(curve) == bins


def test_edges_belong_to_the_lower_bin_and_zero_to_the_first():
    curve = calibration.reliability_curve(np.array([0.0, 0.5, 0.500001, 1.0]), np.array([True, True, False, True]), 2)
    assert curve["count"].tolist() == [2, 2] and curve["accuracy"].tolist() == [1, 0.5]
    empty = calibration.reliability_curve(np.array([0.9]), np.array([True]), 2)
    assert np.isnan(empty["accuracy"][0]) and calibration.expected_calibration_error(empty) == pytest.approx(0.1)


def test_classes_are_counted_one_by_one():
    labels, predicted = np.array([0, 0, 1, 1, 1]), np.array([0, 1, 1, 1, 0])
    accuracies = agreement.class_accuracies(labels, predicted, 3)
    assert accuracies[:2].tolist() == [1 / 2, 2 / 3] and np.isnan(accuracies[2])


@given(SEEDS)
def test_networks_disagree_where_their_predictions_differ(seed):
    predicted = np.random.default_rng(seed).integers(0, 3, (4, 25)).astype(np.uint8)
    expected = [
        [np.mean([a != b for a, b in zip(one, other, strict=True)]) for other in predicted] for one in predicted
    ]
    np.testing.assert_allclose(agreement.disagreements(predicted), expected, atol=1e-15)


@given(SEEDS)
def test_modal_labels_and_votes_are_those_of_each_image(seed):
    predicted = np.random.default_rng(seed).integers(0, 4, (5, 30)).astype(np.uint8)
    modal = agreement.modal_labels(predicted, 4)
    assert modal.tolist() == [int(stats.mode(votes).mode) for votes in predicted.T], "the lowest of equally frequent"
    votes = agreement.votes_for(predicted, modal, 4)
    np.testing.assert_array_equal(
        votes, [(column == label).mean() for column, label in zip(predicted.T, modal, strict=True)]
    )


def test_exemplars_are_images_whose_modal_label_changes():
    dense = np.array([[0, 1, 2, 2, 1], [0, 1, 2, 2, 1], [1, 1, 0, 2, 1]])
    pruned = np.array([[0, 2, 2, 1, 0], [1, 2, 2, 1, 1], [0, 1, 2, 2, 2]])
    assert agreement.exemplars(dense, pruned, 3).tolist() == [1, 3], "a tie with the dense label counts for it"


def of_groups(differences: list[float]) -> pd.DataFrame:
    """Two groups; the samples of the second come in another order, and one sample has no partner."""
    first = [{"group": "a", "sample": sample, "top1": 0.5 + sample / 100} for sample in range(len(differences) + 1)]
    second = [
        {"group": "b", "sample": sample, "top1": 0.5 + sample / 100 + difference}
        for sample, difference in reversed(list(enumerate(differences)))
    ]
    return pd.DataFrame([*first, *second])


def test_groups_are_compared_sample_by_sample():
    differences = [0.02, 0.01, -0.005, 0.03, 0.012, 0.004, 0.021]
    table = of_groups(differences)
    (row,) = samples.paired_tests(table, ["top1"]).to_dict("records")
    ours = table[table["group"] == "a"]["top1"].to_numpy()[: len(differences)]
    expected = stats.ttest_rel(ours + differences, ours)
    assert (row["first"], row["second"], row["n"]) == ("a", "b", 7)
    assert row["difference"] == pytest.approx(np.mean(differences)) and row["sd"] == pytest.approx(
        np.std(differences, ddof=1)
    )
    assert row["t"] == pytest.approx(expected.statistic) and row["t_p"] == pytest.approx(expected.pvalue)
    assert row["wilcoxon_p"] == pytest.approx(2 * 3 / 2**7), "rank sums up to 2: of no sample, of rank 1, of rank 2"


@pytest.mark.parametrize(("differences", "defined"), [
    ([], set()), ([0.1], {"difference"}), ([0.25, 0.25, 0.25], {"difference", "sd"}),
    ([0.1, 0.2, 0.3], {"difference", "sd", "t", "t_p"}),
])  # fmt: skip
def test_what_few_samples_do_not_tell_is_missing(differences, defined):
    table = of_groups(differences).assign(top1=lambda rows: (rows["top1"] * 2**20).round() / 2**20)
    if not differences:
        table = pd.concat([table, table.assign(group="b", sample=99)])
    (row,) = samples.paired_tests(table, ["top1"]).to_dict("records")
    values = {name for name in ("difference", "sd", "t", "t_p", "wilcoxon_p") if np.isfinite(row.get(name, np.nan))}
    assert values == defined and row["n"] == len(differences)


def test_means_have_sample_deviations_and_leave_gaps_out():
    table = pd.DataFrame({"group": ["a", "a", "a", "b"], "x": [1.0, 2.0, np.nan, 5.0], "y": [1.0, 1.0, 4.0, 2.0]})
    found = samples.means(table, ["group"], ["x", "y"]).set_index(["group", "metric"])
    assert found.loc[("a", "x"), "n"] == 2 and found.loc[("a", "x"), "mean"] == 1.5
    assert found.loc[("a", "x"), "sd"] == pytest.approx(np.sqrt(0.5)) and found.loc[("a", "y"), "sd"] == pytest.approx(
        3**0.5
    )
    assert np.isnan(found.loc[("b", "x"), "sd"])


def stored(folder: Path, pruner: str = "snip", **content: pd.DataFrame) -> str:
    """A folder of a run with a summary, settings and further tables; its path."""
    folder.mkdir()
    summary = {"pruner": pruner, "iterations": 100, "macs": 1000, "direct_macs": 100, "effective_macs": 80}
    summary |= {"top1": 0.5, "best_top1": 0.6, "top5": 0.9, "test_loss": 1.0}
    summary |= {"direct_sparsity": 0.9, "effective_sparsity": 0.92}
    for name, table in {"summary": pd.DataFrame([summary]), **content}.items():
        table.to_csv(folder / f"{name}.csv", index=False)
    (folder / "run.json").write_text(json.dumps({"status": "complete", "settings": {"batch_size": 10}}))
    return str(folder)


MULTISHOT = {
    "levels": pd.DataFrame({"level": [0, 1], "weights": ["initial", "rewound"], "iterations": [100, 100],
                            "direct_macs": [1000, 100]}),
    "trainings": pd.DataFrame({"level": [0, 0, 1, 1], "weights": ["initial"] * 2 + ["rewound"] * 2,
                               "iteration": [0, 100, 20, 100]}),
}  # fmt: skip
CHANGES = {"sparsity": pd.DataFrame({"iteration": [0, 40, 60, 60], "direct_macs": [1000, 500, 400, 100]})}
SEARCH = {"search": pd.DataFrame({"phase": ["search", "search", "rounded", "fine-tune", "shuffle"],
                                  "iteration": [50, 100, 100, 180, 180]})}  # fmt: skip


@pytest.mark.parametrize(("content", "macs"), [
    ({}, 100 * 100), (MULTISHOT, 100 * 1000 + 80 * 100), (CHANGES, 40 * 1000 + 20 * 500 + 40 * 100),
    (SEARCH, 100 * 1000 + 80 * 100),
    ({"sparsity": CHANGES["sparsity"][["iteration"]]}, 100 * 100),
])  # fmt: skip
def test_operations_are_counted_with_the_masks_of_each_step(tmp_path, content, macs):
    found = operations_of(stored(tmp_path / "run", **content))
    assert found["training"] == 2 * 3 * 10 * macs and found["training_share"] == macs / (100 * 1000)
    assert found["inference"] == 2000 and found["direct_inference"] == 200
    assert found["effective_inference_share"] == 0.08


def networks(tmp_path: Path, groups: dict[str, list[list[int]]]) -> list[Network]:
    """Networks with these predictions on images with the labels 0, 1, 2, 0, 1, 2; the group `dense` is dense."""
    found = []
    labels = np.arange(6) % 3
    for group, predictions in groups.items():
        for sample, predicted in enumerate(predictions):
            folder = stored(tmp_path / f"{group}{sample}", pruner=group)
            logs = np.log(np.full((6, 3), 0.1) + 0.7 * np.eye(3)[predicted])
            content = Predictions.of(labels, np.array(predicted), logs).to_bytes()
            (Path(folder) / PREDICTIONS).write_bytes(content)
            found.append(Network(f"{group} s{sample}", group, sample, nn.Identity(), (1,), folder, f"{group}{sample}"))
    return found


RIGHT = [0, 1, 2, 0, 1, 2]


def test_predictions_become_tables(tmp_path):
    both = networks(tmp_path, {"dense": [RIGHT, RIGHT], "snip": [[0, 1, 2, 0, 1, 1], [0, 0, 2, 0, 1, 1]]})
    found = tables.prediction_tables(both, tables.stored_predictions(both), bins=10)
    scores = found["calibration"].set_index("network")
    assert scores.loc["dense s0", "nll"] == pytest.approx(-np.log(0.8), abs=1e-3)
    assert scores.loc["dense s0", "ece"] == pytest.approx(0.2, abs=1e-3) and scores.loc["snip s1", "top1"] == 4 / 6
    assert scores.loc["snip s0", "brier"] == pytest.approx((5 * 0.06 + 0.81 + 0.64 + 0.01) / 6, abs=1e-3)
    changes = found["class_accuracy"].set_index(["network", "class"])["change"]
    assert changes["snip s1"].tolist() == [0, -0.5, -0.5] and changes["dense s1"].tolist() == [0, 0, 0]
    pairs = found["disagreement"].set_index(["first", "second"])["disagreement"]
    assert pairs["snip s0", "snip s1"] == pytest.approx(1 / 6) and pairs["dense s0", "snip s1"] == pytest.approx(1 / 3)
    (exemplar,) = found["exemplars"].to_dict("records")
    assert exemplar == {"group": "snip", "image": 5, "label": 2, "dense_label": 2, "pruned_label": 1,
                        "dense_share": 1.0, "pruned_share": 1.0}  # fmt: skip
    assert len(found["reliability"]) == 4 * 10


def test_without_dense_networks_there_is_no_change(tmp_path):
    pruned = networks(tmp_path, {"snip": [RIGHT]})
    found = tables.prediction_tables(pruned, tables.stored_predictions(pruned))
    assert found["class_accuracy"]["change"].isna().all() and found["exemplars"].empty and found["disagreement"].empty


def test_missing_predictions_and_other_images_are_one_line(tmp_path):
    both = networks(tmp_path, {"dense": [RIGHT, RIGHT], "snip": [RIGHT]})
    other = Predictions.of(np.zeros(6, int), np.zeros(6, int), np.zeros((6, 3)))
    (Path(both[1].folder) / PREDICTIONS).write_bytes(other.to_bytes())
    with pytest.raises(UserError, match="dense s0 and dense s1 were tested on other images"):
        tables.stored_predictions(both)
    (Path(both[2].folder) / PREDICTIONS).unlink()
    with pytest.raises(UserError, match=r"snip s0: no predictions are stored; .* --save_predictions --overwrite"):
        tables.stored_predictions(both)


def test_final_tables_and_curves_are_over_samples(tmp_path):
    both = networks(tmp_path, {"dense": [RIGHT, RIGHT], "snip": [RIGHT, RIGHT]})
    for place, network in enumerate(both):
        rows = pd.DataFrame({"iteration": [0, 10], "epoch": [0, 1], "top1": [0.1, 0.5 + place / 10],
                             "test_loss": [2, 1], "train_loss": [np.nan, 1], "train_top1": [np.nan, 1],
                             "val_top1": np.nan, "val_loss": np.nan})  # fmt: skip
        rows.to_csv(Path(network.folder) / "training.csv", index=False)
    curves = tables.curve_tables(both)["curves"].set_index(["group", "iteration", "metric"])
    last = curves.loc[("snip", 10, "top1")]
    assert last["n"] == 2 and last["mean"] == pytest.approx(0.75) and last["sd"] == pytest.approx(0.1 / 2**0.5)
    assert ("snip", 0, "train_loss") not in curves.index
    final = tables.final_tables(both)
    assert set(final["final"]["metric"]) == set(tables.FINAL) and (final["paired"]["difference"] == 0).all()
    assert tables.operation_tables(both)["operations"]["training_share"].tolist() == [0.1] * 4


def test_runs_record_the_multiply_adds_of_their_masks(tmp_path):
    """In a dense network, an input uses each weight once."""
    words = ["--architecture=fc", "--pruner=magnitude", "--target_sparsity=0.5"]
    assert call(tmp_path, *words, "--experiment=gradual", "--prune_every=5") == 0
    assert call(tmp_path, *words, "--experiment=multishot", "--levels=1", "--rewind=4") == 0
    rows = rows_of(tmp_path).set_index("experiment")
    folders = {name: run_folder(tmp_path, row) for name, row in rows.iterrows()}
    changes = pd.read_csv(folders["gradual"] / "sparsity.csv")
    assert (changes["direct_macs"] == changes["kept_direct"]).all()
    assert changes["direct_macs"].iloc[-1] == rows.loc["gradual", "direct_macs"]
    steps = sum(changes.loc[changes["iteration"] <= step, "kept_direct"].iloc[-1] for step in range(20))
    found = operations_of(folders["gradual"])
    assert found["training_share"] == pytest.approx(steps / (20 * 119_400)) and steps < 20 * 119_400
    share = (20 * 119_400 + 16 * 59_700) / (20 * 119_400)
    assert operations_of(folders["multishot"])["training_share"] == pytest.approx(share)
