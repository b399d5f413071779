"""Predictions that a run stores: small types, the accuracy of its row, and what a run without them says."""

from pathlib import Path

import numpy as np
import pytest
from commands import call, comparable_rows, execute
from conftest import rows_of, run_folder
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import log_softmax

from Utils.errors import UserError
from Utils.files import DamagedError
from Utils.results.predictions import PREDICTIONS, Predictions, has_predictions, read_predictions

SAVED = ["--save_predictions", "--architecture=fc", "--image_size=28"]
EXPERIMENTS = {
    "singleshot": ["--pruner=random"],
    "multishot": ["--experiment=multishot", "--levels=1", "--pruner=magnitude"],
    "gradual": ["--experiment=gradual", "--pruner=magnitude", "--prune_every=5"],
    "dynamic": ["--experiment=dynamic", "--pruner=random", "--exchange_every=5"],
    "union-mask": ["--experiment=union-mask", "--pruner=magnitude", "--prune_every=5", "--cycles=2"],
    "supermask": ["--experiment=supermask", "--batch_size=700", "--freeze_every=1"],
}  # fmt: skip


@given(st.integers(0, 2**32 - 1), st.sampled_from([1.0, 1e3, 1e6]))
def test_what_is_stored_is_close_to_what_was_said(seed, scale):
    logits = np.random.default_rng(seed).normal(scale=scale, size=(20, 7))
    logs = log_softmax(logits, axis=1)
    stored = Predictions.of(np.arange(20) % 7, logs.argmax(1), logs)
    assert np.isfinite(stored.log_probabilities).all()
    np.testing.assert_allclose(stored.probabilities, np.exp(logs), atol=2e-3)
    np.testing.assert_allclose(stored.probabilities.sum(1), 1, atol=1e-12)


@pytest.mark.parametrize(("classes", "kind"), [(10, np.uint8), (256, np.uint8), (257, np.uint16)])
def test_classes_take_one_byte_or_two(tmp_path, classes, kind):
    last = np.array([classes - 1])
    stored = Predictions.of(last, last, np.full((1, classes), -np.log(classes)))
    (tmp_path / "run.json").write_text('{"status": "complete"}')
    (tmp_path / PREDICTIONS).write_bytes(stored.to_bytes())
    read = read_predictions(tmp_path)
    assert read.labels.dtype == read.predicted.dtype == kind and read.predicted.tolist() == [classes - 1]
    assert read.log_probabilities.dtype == np.float16
    np.testing.assert_array_equal(read.log_probabilities, stored.log_probabilities)


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_experiment_that_trains_a_network_stores_those_of_the_final_one(tmp_path, name):
    assert call(tmp_path, *SAVED, *EXPERIMENTS[name]) == 0
    (row,) = (row for _, row in rows_of(tmp_path).iterrows())
    read = read_predictions(run_folder(tmp_path, row))
    assert (read.predicted == read.labels).mean() == pytest.approx(row["top1"], abs=1e-12)
    own = np.take_along_axis(read.log_probabilities.astype(float), read.labels.astype(int)[:, None], 1)
    assert -own.mean() == pytest.approx(row["test_loss"], rel=2e-3)
    size = (run_folder(tmp_path, row) / PREDICTIONS).stat().st_size
    assert size < len(read.labels) * (2 * 10 + 2) + 512


def test_a_run_is_the_same_with_them_and_says_how_to_get_them(tmp_path, capsys):
    assert call(tmp_path, "--pruner=random") == 0
    before = comparable_rows(tmp_path)
    (folder,) = (run_folder(tmp_path, row) for _, row in rows_of(tmp_path).iterrows())
    with pytest.raises(UserError, match="holds no predictions; repeat its command with --save_predictions --overwrite"):
        read_predictions(folder)
    capsys.readouterr()
    assert call(tmp_path, "--pruner=random", "--save_predictions") == 0
    out, err = capsys.readouterr()
    assert "1 complete network has no predictions; --save_predictions --overwrite trains again" in out + err
    assert not has_predictions(folder)
    assert call(tmp_path, "--pruner=random", "--save_predictions", "--overwrite") == 0
    assert has_predictions(folder) and comparable_rows(tmp_path).equals(before)
    capsys.readouterr()
    assert call(tmp_path, "--pruner=random", "--save_predictions") == 0
    out, err = capsys.readouterr()
    assert "no predictions" not in out + err
    # Whoever executes the run again without the flag does not keep those of another execution.
    assert call(tmp_path, "--pruner=random", "--overwrite") == 0
    assert not has_predictions(folder)


def test_damage_is_noticed_and_deleted_files_are_not(tmp_path, capsys):
    assert call(tmp_path, "--pruner=random", "--save_predictions") == 0
    (folder,) = (run_folder(tmp_path, row) for _, row in rows_of(tmp_path).iterrows())
    path = folder / PREDICTIONS
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(DamagedError, match="has changed since the run was stored"):
        read_predictions(folder)
    path.unlink()
    capsys.readouterr()
    assert call(tmp_path, "--pruner=random") == 0
    assert "complete already" in "".join(capsys.readouterr())


@pytest.mark.parametrize(("words", "message"), [
    (["--save=0"], "--save_predictions has no effect with --save=0; leave it out"),
    (["--experiment=quotas"], "--save_predictions has no effect with --experiment=quotas, which stores no network"),
])  # fmt: skip
def test_flags_without_predictions_to_store(tmp_path: Path, capsys, words, message):
    assert execute(tmp_path, "--data=digits", "--save_predictions", *words) == 2
    assert message in capsys.readouterr().err
