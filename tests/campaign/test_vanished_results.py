"""Results that are deleted or damaged while a campaign is running: what others need is executed again."""

import os
import shutil
from pathlib import Path

import pytest
from commands import call
from safetensors.torch import save

from Utils.campaign.campaign import _Campaign
from Utils.campaign.queue import ATTEMPTS, Entry, JobQueue
from Utils.results import load_summaries
from Utils.results.store import Store


@pytest.fixture
def after_dense(monkeypatch):
    """A list of what happens, one thing after each dense run that is finished."""
    events = []
    finish = _Campaign._finish

    def finish_and_act(self, run, *rest):
        finish(self, run, *rest)
        if run.settings.pruning.pruner == "dense" and events:
            events.pop(0)(self.recorder.store.folder(run.settings))

    monkeypatch.setattr(_Campaign, "_finish", finish_and_act)
    return events


def delete_all(folder: Path) -> None:
    shutil.rmtree(folder.parents[5])


def cut_weights(folder: Path) -> None:
    (folder / "weights.safetensors").write_bytes(save({}))


def flip_a_bit(folder: Path) -> None:
    path = folder / "weights.safetensors"
    state, content = path.stat(), bytearray(path.read_bytes())
    content[-1] ^= 64
    path.write_bytes(content)
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))


def forget_weights(folder: Path) -> None:
    (folder / "weights.safetensors").unlink()


@pytest.mark.parametrize("event", [delete_all, cut_weights, flip_a_bit, forget_weights])
def test_dense_weights_that_vanish_are_made_again(tmp_path, after_dense, capsys, event):
    after_dense += [event, event]
    results = tmp_path / "Results"
    assert call(results, "--pruner=magnitude,lamp,random") == 0
    printed = capsys.readouterr().out
    words = "its trained weights were deleted or damaged meanwhile; it is executed again"
    assert printed.count(words) == 2 and "FAILED" not in printed and not after_dense
    assert "[6/6]" in printed, "each run that is executed again counts"
    assert call(tmp_path / "calm", "--pruner=magnitude,lamp,random") == 0
    columns = ["run", "status", "top1", "kept_effective", "train_loss"]
    found, calm = (load_summaries(folder)[columns].sort_values("run") for folder in (results, tmp_path / "calm"))
    assert len(found) >= 3 and found.merge(calm).shape == found.shape


def test_weights_that_always_vanish_are_given_up(tmp_path, after_dense, capsys):
    after_dense += [forget_weights] * 50
    assert call(tmp_path, "--pruner=magnitude,random") == 1
    assert "deleted or damaged meanwhile, however often they were made" in capsys.readouterr().out
    assert len(after_dense) == 50 - ATTEMPTS
    rows = load_summaries(tmp_path, status=None)
    assert rows.set_index("pruner")["status"].to_dict() == {
        "dense": "complete",
        "magnitude": "failed",
        "random": "complete",
    }


def test_a_results_folder_that_is_deleted_during_training_is_made_again(tmp_path, monkeypatch, capsys):
    results, original = tmp_path / "Results", Store.write_checkpoint

    def delete(self, *rest):
        shutil.rmtree(results)
        original(self, *rest)

    monkeypatch.setattr(Store, "write_checkpoint", delete)
    assert call(results, "--pruner=random,mag", "--checkpoint_every=10") == 0
    assert "warning" not in capsys.readouterr().err
    assert not list(results.rglob("checkpoint*")) and load_summaries(results)["pruner"].tolist()


def test_a_folder_that_is_deleted_while_a_run_is_written_is_written_again(tmp_path, monkeypatch):
    import Utils.results.store as store

    original, deletions = store.write_file, []

    def write(path, content):
        original(path, content)
        if path.name == "training.csv" and len(deletions) < 2:
            deletions.append(path)
            shutil.rmtree(path.parents[6])

    monkeypatch.setattr(store, "write_file", write)
    assert call(tmp_path / "Results", "--pruner=random") == 0
    assert len(load_summaries(tmp_path / "Results")) == 1 and len(deletions) == 2


def test_a_repeated_entry_waits_for_nothing_that_is_finished():
    queue = JobQueue(finished={"dense"})
    study, run = Entry("study", "study", frozenset({"run"})), Entry("run", "run", frozenset({"dense"}))
    queue.finished.add("run")
    queue.add([study])
    for _ in range(ATTEMPTS - 1):
        queue.start(next(iter(queue.candidates(0))), 0)
        assert queue.running.keys() == {"study"}
        queue.finished.discard("dense")
        assert queue.repeat(run, "study") and queue.waiting == 2 and not queue.running
        assert [entry.name for entry in queue.candidates(0)] == ["run"]
        queue.start(run, 0)
        queue.finish("run")
    queue.start(next(iter(queue.candidates(0))), 0)
    assert not queue.repeat(run, "study") and queue.running.keys() == {"study"}
