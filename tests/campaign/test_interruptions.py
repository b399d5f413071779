"""Interruptions of a campaign: kills, Ctrl-C, full disks and damaged files lose no finished run."""

import os
import signal
import time

import faults
import pytest
from commands import QUICK, call, comparable_rows, runs

from Utils.campaign.locks import RunLocks
from Utils.errors import UserError
from Utils.results import atomic_files, load_summaries, store
from Utils.results.store import Store


@pytest.mark.slow
def test_killed_workers_and_launchers_leave_every_network_once_and_the_same(tmp_path):
    import random

    calm, troubled = tmp_path / "calm", tmp_path / "troubled"
    assert faults.start(calm, 40, "--workers=2").wait() == 0
    killed, _ = faults.disturbed(troubled, 40, 5, random.Random(0), ["--workers=2"])
    assert killed == 5
    assert faults.check_same(calm, troubled) == 41


def test_ctrl_c_once_finishes_what_is_running(tmp_path, program):
    words = ["--pruner=random,mag,snip", "--target_sparsity=0.5,0.7,0.9", "--iterations=1000", "--workers=2"]
    process = program(tmp_path, *words, "--threads=1")
    assert process.stdout is not None
    while "[1/9]" not in process.stdout.readline():
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    out = process.communicate(timeout=120)[0]
    assert process.returncode == 130 and "what is running now is finished and kept" in out
    assert (
        out.rstrip().endswith("complete runs are kept, the same command resumes from there") and "Traceback" not in out
    )
    count = len(comparable_rows(tmp_path))
    assert 2 <= count < 9 and out.count(": top-1 ") == count - 1
    assert not RunLocks(tmp_path).owners()


@pytest.mark.parametrize("workers", ["--workers=1", "--workers=2"])
def test_ctrl_c_twice_stops_now(tmp_path, workers, program):
    process = program(tmp_path, "--pruner=random,mag", "--iterations=1000000", workers, start_new_session=True)
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob(".locks/*.owner")) and time.monotonic() < deadline:
        time.sleep(0.1)
    time.sleep(1)
    os.killpg(process.pid, signal.SIGINT)
    time.sleep(1)
    assert process.poll() is None
    os.killpg(process.pid, signal.SIGINT)
    out = process.communicate(timeout=60)[0]
    assert process.returncode == 130 and "Traceback" not in out and "resumes from there" in out
    assert not list(tmp_path.rglob("run.json")) and not RunLocks(tmp_path).owners()


@pytest.mark.parametrize("workers", ["--workers=1", "--workers=2"])
def test_a_disk_that_fills_up_stops_the_campaign_and_leaves_a_store_that_opens_again(
    tmp_path, monkeypatch, capsys, workers
):
    write, written = atomic_files.write_file, []

    def fills_up(path, content):
        written.append(path)
        if len(written) > 11:
            raise OSError(28, "No space left on device")
        write(path, content)

    with monkeypatch.context() as patch:
        patch.setattr(store, "write_file", fills_up)
        assert call(tmp_path, "--pruner=random,mag,snip", workers) == 2
    error = capsys.readouterr().err
    assert "No space left on device; make room, and run the same command again" in error and "Traceback" not in error
    assert len(comparable_rows(tmp_path)) == 1 and not RunLocks(tmp_path).owners()
    assert call(tmp_path, "--pruner=random,mag,snip", workers) == 0
    assert len(comparable_rows(tmp_path)) == 3


def test_a_store_that_a_killed_writer_left_is_tidied(tmp_path):
    assert call(tmp_path, "--pruner=random") == 0
    (folder,) = (path.parent for path in tmp_path.rglob("run.json"))
    (folder / "run.json").unlink()
    (folder / ".summary.csv-abc.partial").write_text("half")
    assert call(tmp_path, "--pruner=random") == 0
    assert not list(folder.glob(".*")) and len(comparable_rows(tmp_path)) == 1


@pytest.mark.parametrize("damage", [b"", None])
def test_a_run_without_its_row_is_made_again(tmp_path, capsys, damage):
    assert call(tmp_path, "--pruner=random") == 0
    (path,) = tmp_path.rglob("summary.csv")
    path.unlink() if damage is None else path.write_bytes(damage)
    capsys.readouterr()
    assert call(tmp_path, "--pruner=random", "--status") == 0
    assert capsys.readouterr().out.splitlines()[-1].split() == ["all", "0", "0", "0", "1", "1"]
    assert call(tmp_path, "--pruner=random") == 0 and len(load_summaries(tmp_path)) == 1


def test_dense_weights_that_are_damaged_are_trained_again(tmp_path):
    assert call(tmp_path, "--pruner=magnitude") == 0
    (weights,) = tmp_path.rglob("dense/*/*/weights.safetensors")
    whole = weights.read_bytes()
    weights.write_bytes(whole[: len(whole) // 2])
    assert call(tmp_path, "--pruner=lamp") == 0
    assert weights.read_bytes() == whole and len(load_summaries(tmp_path)) == 3


def test_a_complete_campaign_needs_no_room(tmp_path, monkeypatch, capsys):
    def read_only(self):
        raise UserError("cannot write")

    assert call(tmp_path, "--pruner=random") == 0
    monkeypatch.setattr(Store, "check_writable", read_only)
    assert call(tmp_path, "--pruner=random") == 0 and "complete already" in capsys.readouterr().out
    assert call(tmp_path, "--pruner=mag") == 2


def test_a_checkpoint_that_cannot_be_removed_is_told_of(tmp_path, capsys):
    (settings,) = runs(*QUICK, "--pruner=random", f"--out_path={tmp_path}")
    (Store(tmp_path).folder(settings) / "checkpoint-training.pt").mkdir(parents=True)
    assert call(tmp_path, "--pruner=random", "--overwrite") == 2
    assert "cannot write to" in (error := capsys.readouterr().err) and error.count("\n") == 1


def test_an_error_of_the_store_is_not_a_failure_of_a_network(tmp_path, monkeypatch, capsys):
    def fails(self, *rest):
        raise UserError("cannot write to it")

    monkeypatch.setattr(Store, "write", fails)
    assert call(tmp_path, "--pruner=random,mag") == 2
    assert capsys.readouterr().err == "main.py: cannot write to it\n" and not RunLocks(tmp_path).owners()
