"""Campaigns: workers, shared scores, dense parents, commands side by side, and runs that fail."""

import json
import subprocess
import sys

import pandas as pd
import pytest
from commands import ROOT, call, comparable_rows

import Experiments.runs.singleshot as experiment
from Utils.machine import cores
from Utils.results import load_summaries


def test_workers_make_the_same_networks_as_this_process(tmp_path, capsys):
    words = ["--pruner=dense,random,snip,magnitude", "--target_sparsity=0.5,0.9", "--sample=0,1"]
    assert call(tmp_path / "one", *words) == 0
    assert call(tmp_path / "two", *words, "--workers=2", "--threads=1") == 0
    pd.testing.assert_frame_equal(comparable_rows(tmp_path / "one"), comparable_rows(tmp_path / "two"))
    assert len(comparable_rows(tmp_path / "one")) == 14
    out = capsys.readouterr().out
    assert "[14/14] " in out and out.count("top-1") == 28


def test_threads_are_fixed_and_recorded(tmp_path):
    assert call(tmp_path, "--pruner=random,mag", "--workers=2") == 0
    assert call(tmp_path, "--pruner=random", "--sample=1", "--threads=2") == 0
    found = {
        (record["settings"]["sample"], record["settings"]["threads"], record["machine"]["threads"])
        for record in (json.loads(path.read_text()) for path in tmp_path.rglob("run.json"))
    }
    assert found == {(0, 1, 1), (1, 2, 2)}


def test_more_threads_than_there_are_are_warned_about(tmp_path, capsys):
    assert call(tmp_path, "--pruner=random,mag", "--workers=2", f"--threads={cores()}") == 0
    assert f"2 workers of {cores()} threads each will slow each other down on {cores()}" in capsys.readouterr().err


def test_dense_networks_that_others_need_are_made_once_and_first(tmp_path, capsys):
    assert call(tmp_path, "--pruner=snip,magnitude,lamp,dense", "--target_sparsity=0.5,0.9", "--sample=0,1") == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("[")]
    assert [" dense " in line for line in lines] == [True] * 2 + [False] * 12
    assert (load_summaries(tmp_path)["pruner"] == "dense").sum() == 2


@pytest.mark.parametrize(("pruner", "times"), [("snip", 2), ("synflow", 4)])
def test_equal_scores_are_computed_once(tmp_path, monkeypatch, pruner, times):
    """One-shot criteria once for all levels and both types, iterative ones once for each level."""
    from Experiments.common.run_pruner import RunPruner

    scored = []
    original = RunPruner.scores
    monkeypatch.setattr(RunPruner, "scores", lambda *rest: (scored.append(1), original(*rest))[1])
    words = [f"--pruner={pruner}", "--target_sparsity=0.5,0.9", "--pruning_type=direct,effective", "--sample=7,8"]
    assert call(tmp_path, *words) == 0
    assert len(scored) == times


def test_two_commands_side_by_side_share_the_work(tmp_path, program):
    words = ["--pruner=random,snip,mag,magnitude", "--target_sparsity=0.5,0.8,0.9", "--iterations=100"]
    one, two = program(tmp_path, *words), program(tmp_path, *words)
    out = [process.communicate(timeout=300)[0] for process in (one, two)]
    assert (one.returncode, two.returncode) == (0, 0)
    made = [text.count(": top-1 ") for text in out]
    assert sum(made) == 13 and min(made) > 0, out
    assert len(comparable_rows(tmp_path)) == 13


def test_a_network_that_another_command_makes_is_waited_for_and_taken_over(tmp_path, capsys):
    holds = "import sys, time; from pathlib import Path; from Utils.campaign.locks import RunLocks\n"
    holds += "locks = RunLocks(Path(sys.argv[1])); print(locks.acquire(sys.argv[2]), flush=True); time.sleep(3)"
    assert call(tmp_path, "--pruner=random", "--dry_run") == 0
    name = capsys.readouterr().out.splitlines()[0].rpartition("_")[2]
    holder = subprocess.Popen([sys.executable, "-c", holds, str(tmp_path), name], stdout=subprocess.PIPE, cwd=ROOT)
    assert holder.stdout is not None and holder.stdout.readline() == b"True\n"
    assert call(tmp_path, "--pruner=random", "--status") == 0
    assert f"(process {holder.pid} on " in capsys.readouterr().out
    assert call(tmp_path, "--pruner=random,mag") == 0
    out = capsys.readouterr().out
    assert "another command is running the last 1 networks" in out and holder.wait() == 0
    assert len(comparable_rows(tmp_path)) == 2


def test_failures_are_rows_and_made_again_only_if_asked(tmp_path, monkeypatch, capsys):
    original = experiment.run

    def fails(settings, inputs, context):
        if settings.pruning.pruner == "mag":
            raise MemoryError("no room")
        return original(settings, inputs, context)

    with monkeypatch.context() as patch:
        patch.setattr(experiment, "run", fails)
        assert call(tmp_path, "--pruner=mag,random") == 1
    out = capsys.readouterr().out
    assert "1 of 2 networks failed; --retry_failed runs them again:" in out and "MemoryError: no room" in out
    (record,) = tmp_path.rglob("mag/direct/*/run.json")
    assert "in fails" in json.loads(record.read_text())["trace"]
    assert call(tmp_path, "--pruner=mag,random") == 1
    assert "failed before, MemoryError: no room (--retry_failed runs it again)" in capsys.readouterr().out
    assert call(tmp_path, "--pruner=mag") == 1
    assert call(tmp_path, "--pruner=mag,random", "--retry_failed") == 0
    assert "complete already" in capsys.readouterr().out and set(comparable_rows(tmp_path)["status"]) == {"complete"}


@pytest.mark.parametrize("workers", [1, 2])
def test_what_needs_a_failed_network_fails_with_its_reason(tmp_path, workers, capsys):
    words = ["--pruner=magnitude,random", "--lr=1e35", "--optimizer=sgd", "--iterations=60", f"--workers={workers}"]
    assert call(tmp_path, *words) == 1
    errors = comparable_rows(tmp_path).set_index("pruner")["error"]
    assert errors["dense"].startswith("training diverged")
    assert errors["magnitude"].startswith("it needs lenet300100 digits dense sample 0, which failed: training diverged")
    # The rows do not tell whether the campaign was interrupted between the two.
    capsys.readouterr()
    assert call(tmp_path, *words, "--pruner=lamp") == 1
    out = capsys.readouterr().out
    assert "dense sample 0, whose weights others score: failed before, training diverged" in out
    assert comparable_rows(tmp_path).set_index("pruner").loc["lamp", "error"] == errors["magnitude"]
    assert call(tmp_path / "alone", *words, "--pruner=magnitude") == 1
    assert comparable_rows(tmp_path / "alone").set_index("pruner")["error"].to_dict() == errors.to_dict()


def test_a_network_that_kills_its_process_fails_in_the_end(tmp_path, program):
    (tmp_path / "deadly.py").write_text(
        "import os, signal\nfrom torch import nn\n"
        "class Deadly(nn.Module):\n"
        "    def __init__(self, classes):\n"
        "        super().__init__()\n        self.fc = nn.Linear(784, classes)\n"
        "    def forward(self, x):\n"
        "        if self.training:\n            os.kill(os.getpid(), signal.SIGKILL)\n"
        "        return self.fc(x.flatten(1))\n"
        "def deadly(input_shape=(1, 28, 28), classes=10):\n    return Deadly(classes)\n"
    )
    words = [f"--architecture={tmp_path}/deadly.py:deadly,lenet300100", "--pruner=mag", "--workers=2"]
    done = program(tmp_path / "out", *words)
    out = done.communicate(timeout=300)[0]
    assert done.returncode == 1, out
    rows = comparable_rows(tmp_path / "out").set_index("status")
    assert rows.loc["failed", "error"] == "its process was killed (SIGKILL; out of memory?), 5 times"
    assert rows.loc["complete", "architecture"] == "lenet300100"


@pytest.mark.parametrize(("words", "message"), [
    (["--ray_address=auto"], "--ray_address has no effect without --launcher=ray"),
    (["--gpus=0.5"], "--gpus has no effect without --launcher=ray"),
    (["--workers=0"], "--workers must be at least 1, not 0"),
    (["--dry_run", "--status"], "--dry_run and --status exclude each other"),
    (["--launcher=slurm"], "unknown value of --launcher 'slurm'"),
    (["--checkpoint_every=-1"], "--checkpoint_every must be at least 0"),
])  # fmt: skip
def test_mistakes(tmp_path, capsys, words, message):
    assert call(tmp_path, *words) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
    assert not list(tmp_path.rglob("run.json"))


def test_ray_that_is_missing_is_an_error_that_says_so(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    assert call(tmp_path, "--launcher=ray") == 2
    assert capsys.readouterr().err == "main.py: --launcher=ray needs the package ray: pip install ray\n"
