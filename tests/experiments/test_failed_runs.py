"""Runs that fail, collapse or cannot start, by the command line."""

import json
import math
import os
from pathlib import Path

import pandas as pd
import pytest
import torch
from commands import execute as call
from conftest import ROOT, rows_of, run_folder
from safetensors.torch import save_file

import Experiments.runs.singleshot as experiment
import main
from Utils.errors import UserError
from Utils.results import load_summaries

pytestmark = pytest.mark.usefixtures("offline")
QUICK = ["--data=digits", "--iterations=40", "--evaluate_every=20"]


def test_a_collapsed_network_is_tested_once_and_warned_about(tmp_path, capsys):
    assert call(tmp_path, *QUICK, "--pruner=random/uniform", "--com_exp=5") == 0
    assert "has collapsed: no path from input to output is left" in capsys.readouterr().err
    (row,) = (row for _, row in rows_of(tmp_path).iterrows())
    assert row["collapsed"] and row["iterations"] == 0 and row["effective_compression"] == math.inf
    assert row["kept_direct"] == row["target_kept"] == 3 and row["dead_units"] == 400
    assert row["chance"] == pytest.approx(37 / 360)
    assert len(pd.read_csv(run_folder(tmp_path, row) / "training.csv")) == 1


def test_a_diverged_run_is_a_row_that_says_so(tmp_path, capsys):
    assert call(tmp_path, "--data=digits", "--iterations=200", "--lr=1e35", "--optimizer=sgd") == 1
    (row,) = (row for _, row in rows_of(tmp_path).iterrows())
    assert row["status"] == "failed" and row["error"].startswith("training diverged: the loss is not finite")
    assert "FAILED, training diverged" in capsys.readouterr().out
    assert load_summaries(tmp_path).empty


@pytest.mark.parametrize(("failure", "reason"), [
    (UserError("this cannot be reached"), "this cannot be reached"),
    (RuntimeError("out of memory"), "RuntimeError: out of memory"),
])  # fmt: skip
def test_one_failure_of_several_is_a_row_and_the_rest_goes_on(tmp_path, monkeypatch, failure, reason):
    original = experiment.run

    def one_fails(settings, inputs, context):
        if settings.pruning.pruner == "mag":
            raise failure
        return original(settings, inputs, context)

    monkeypatch.setattr(experiment, "run", one_fails)
    assert call(tmp_path, *QUICK, "--pruner=mag,random") == 1
    rows = rows_of(tmp_path).set_index("pruner")
    assert dict(rows["status"]) == {"mag": "failed", "random": "complete"}
    assert rows.loc["mag", "error"] == reason


def test_a_request_of_one_run_that_cannot_be_reached_leaves_nothing(tmp_path, monkeypatch, capsys):
    def fails(settings, inputs, context):
        raise UserError("this cannot be reached")

    monkeypatch.setattr(experiment, "run", fails)
    assert call(tmp_path, *QUICK, "--pruner=mag") == 2
    assert capsys.readouterr().err == "main.py: this cannot be reached\n"
    assert not list(tmp_path.rglob("*.csv"))


@pytest.mark.parametrize("pruners", ["dense,magnitude", "magnitude"])
def test_weights_of_a_diverged_network_are_not_scored(tmp_path, pruners):
    words = [f"--pruner={pruners}", "--lr=1e35", "--optimizer=sgd", "--target_sparsity=0.5,0.9"]
    assert call(tmp_path, "--data=digits", "--iterations=60", *words) == 1
    rows = rows_of(tmp_path)
    assert set(rows["status"]) == {"failed"} and sorted(set(rows["pruner"])) == ["dense", "magnitude"]
    errors = set(rows.loc[rows["pruner"] == "magnitude", "error"])
    assert errors == {"it needs lenet300100 digits dense sample 0, which failed: training diverged: the loss is not "
                      "finite at iteration 50"}  # fmt: skip


OWN_FAILING = ROOT / "tests" / "own" / "failing_network.py"
REASONS = {
    "exits": "SystemExit: 0", "interrupts": "KeyboardInterrupt", "leaves": "SystemExit: os._exit(0)",
    "odd": "Odd: no usual exception", "mute": "MuteError: (its message cannot be shown)",
    "no_text": "NoTextError: (its message cannot be shown)",
    "huge": f"RuntimeError: first line second line?[31m ?{'x' * 271}...",
}  # fmt: skip
"""What is said of a network of one's own that fails in some way."""


@pytest.mark.parametrize("workers", ["--workers=1", "--workers=2"])
def test_whatever_a_network_does_in_training_is_a_row(tmp_path, capsys, workers):
    names = [f"{OWN_FAILING}:{kind}" for kind in (*REASONS, "sound")]
    assert call(tmp_path, *QUICK, "--pruner=random", "--architecture", *names, workers) == 1
    rows = rows_of(tmp_path).set_index("architecture")
    assert dict(rows["error"].fillna("")) == dict(zip(names, [*REASONS.values(), ""], strict=True))
    assert "Traceback" not in (said := capsys.readouterr()).err and "7 of 8 networks failed" in said.out
    for _, row in rows_of(tmp_path).iterrows():
        record = json.loads((run_folder(tmp_path, row) / "run.json").read_text())
        assert ("failing_network.py" in record.get("trace", "")) == (row["status"] == "failed")


@pytest.mark.parametrize("kind", ["interrupts", "leaves", "mute"])
def test_whatever_the_only_network_does_in_training_is_a_row(tmp_path, kind):
    assert call(tmp_path, *QUICK, "--pruner=random", f"--architecture={OWN_FAILING}:{kind}") == 1
    ((_, row),) = rows_of(tmp_path).iterrows()
    assert row["error"] == REASONS[kind]


@pytest.mark.parametrize("place", ["factory", "probe"])
@pytest.mark.parametrize("kind", REASONS)
def test_whatever_a_factory_or_a_network_does_in_a_probe_is_one_line(tmp_path, capsys, kind, place):
    assert call(tmp_path, *QUICK, f"--architecture={OWN_FAILING}:{kind}_in_{place}") == 2
    error = capsys.readouterr().err
    reason = REASONS[kind].partition(": ")[2] or REASONS[kind]
    assert error.startswith("main.py: ") and reason in error and error.count("\n") == 1
    assert not list(tmp_path.rglob("run.json"))


def test_a_network_that_fails_while_it_is_timed_has_no_estimate(tmp_path, capsys):
    assert call(tmp_path, *QUICK, f"--architecture={OWN_FAILING}:interrupts", "--pruner=random", "--dry_run") == 0
    assert capsys.readouterr().out.endswith("no estimate: the network fails: KeyboardInterrupt\n")


@pytest.mark.parametrize("code", [
    "import os; os._exit(0)", "from os import _exit; _exit(0)", "raise KeyboardInterrupt", "raise SystemExit(0)",
    "class E(BaseException):\n    __str__ = 0\nraise E", "1 +", "import nowhere", "open('nowhere')",
])  # fmt: skip
def test_whatever_a_file_does_at_its_import_is_one_line(tmp_path, capsys, code):
    (tmp_path / "own.py").write_text(code)
    assert call(tmp_path, *QUICK, f"--architecture={tmp_path}/own.py:make") == 2
    error = capsys.readouterr().err
    assert "own.py:make cannot be imported: " in error and error.count("\n") == 1


def test_stored_weights_of_another_network_are_trained_again(tmp_path):
    assert call(tmp_path, *QUICK, "--pruner=dense") == 0
    (path,) = tmp_path.rglob("weights.safetensors")
    content = path.read_bytes()
    save_file({"fc1.weight": torch.ones(2)}, path)
    assert call(tmp_path, *QUICK, "--pruner=magnitude") == 0
    assert path.read_bytes() == content


def test_left_out_data_falls_back_to_digits_with_a_warning(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert call(tmp_path, *QUICK[1:]) == 0
    expected = "mnist is not in Data/ and cannot be downloaded (no network); using the embedded digits instead"
    assert expected in capsys.readouterr().err
    assert list(rows_of(tmp_path)["data"]) == ["digits"]


@pytest.mark.parametrize(("words", "message"), [
    (["--data=mnist"], "mnist is not in Data/ and cannot be downloaded (no network); copy it there"),
    (["--path_to_data=nowhere"], "--path_to_data=nowhere is no folder; give the one that holds mnist"),
    (["--path_to_data=."], "mnist is not in ./ and cannot be downloaded"),
    (["--data=digits", "--validation=1437"], "--validation=1437 must be less than the 1437 training images"),
    (["--data=digits", "--batch_size=2000"], "--batch_size=2000 is more than the 1437 training images"),
    (["--data=digits", "--device=cuda"], "--device=cuda: PyTorch finds no CUDA device here"),
    (["--pruner=snipe"], "unknown pruner 'snipe'; did you mean 'snip'?"),
])  # fmt: skip
def test_mistakes(tmp_path, monkeypatch, capsys, words, message):
    if "--device=cuda" in words and torch.cuda.is_available():
        pytest.skip("there is a CUDA device here")
    monkeypatch.chdir(tmp_path)
    assert call(tmp_path / "out", *words) == 2
    error = capsys.readouterr().err
    assert error.startswith("main.py: ") and message in error and error.count("\n") == 1
    assert not list(tmp_path.rglob("*.csv")) and not list(tmp_path.rglob("run.json"))


def test_a_damaged_file_is_one_error_before_any_run(tmp_path, capsys):
    for name in ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte"):
        (tmp_path / name).write_bytes(b"no images")
    (tmp_path / "t10k-labels-idx1-ubyte").write_bytes(b"")
    words = ["--data=mnist", f"--path_to_data={tmp_path}", "--pruner=dense,random,snip"]
    assert call(tmp_path / "out", *words) == 2
    error = capsys.readouterr().err
    assert "train-images-idx3-ubyte is missing or damaged" in error and error.count("\n") == 1
    assert not list((tmp_path / "out").rglob("*"))


def test_an_out_path_that_cannot_be_written_to(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert main.main([*QUICK, f"--out_path={tmp_path}/file"]) == 2
    assert "cannot write to" in capsys.readouterr().err
    assert main.main([*QUICK, "--out_path=/proc/nowhere"]) == 2
    assert "give another folder as --out_path" in capsys.readouterr().err


@pytest.mark.skipif(not Path("/dev/full").exists() or os.name != "posix", reason="needs a file system that fills up")
def test_a_full_disk_leaves_finished_results_untouched(tmp_path, capsys, monkeypatch):
    assert call(tmp_path, *QUICK) == 0
    from Utils.results import store

    def kept() -> dict[Path, bytes]:
        return {path: path.read_bytes() for path in tmp_path.glob("singleshot/**/*") if path.is_file()}

    before = kept()

    def full(path, content):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(store, "write_file", full)
    assert call(tmp_path, *QUICK, "--sample=1") == 2
    assert "No space left on device" in capsys.readouterr().err
    assert kept() == before and len(before) == 8
