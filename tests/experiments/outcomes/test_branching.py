"""Branches of a training: the run is as without, its second copy sees other batches, and both can be interrupted."""

from pathlib import Path

import pandas as pd
import pytest
import torch
from commands import call, execute, runs
from conftest import rows_of, run_folder
from safetensors.torch import load_file

from Experiments.common import trial
from Experiments.common.network import state_of
from Experiments.planning.resolve import needs_of

WORDS = ["--pruner=random", "--architecture=fc", "--optimizer=momentum", "--lr=0.05", "--batch_size=32", "--lr_drops="]


def executed(results: Path, *words: str) -> tuple[pd.Series, Path]:
    """The row and the folder of a run."""
    assert call(results, *words) == 0
    (row,) = (row for _, row in rows_of(results).iterrows())
    return row, run_folder(results, row)


@pytest.fixture
def batches(monkeypatch):
    """The batches of each training by its name, and the state that it ends with."""
    seen: dict[str, tuple[list, dict]] = {}
    original = trial.train

    def spied(task, *others):
        inside, labels = task.data.training_batches, []

        def recorded(*arguments):
            for images, classes in inside(*arguments):
                labels.append(classes)
                yield images, classes

        object.__setattr__(task.data, "training_batches", recorded)
        history = original(task, *others)
        object.__delattr__(task.data, "training_batches")
        seen[task.name] = labels, state_of(task.model)
        return history

    monkeypatch.setattr(trial, "train", spied)
    return seen


def test_the_run_is_that_without_a_branch_bit_for_bit(tmp_path, batches):
    plain, plain_folder = executed(tmp_path / "plain", *WORDS)
    alone = batches.pop("training")
    row, folder = executed(tmp_path / "branched", *WORDS, "--branch_at=8")
    assert row["run"] != plain["run"]
    assert (folder / "weights.safetensors").read_bytes() == (plain_folder / "weights.safetensors").read_bytes()
    for name in ("top1", "test_loss", "train_loss", "kept_direct", "iterations"):
        assert row[name] == plain[name]
    labels, _ = batches["training"]
    assert all(torch.equal(*pair) for pair in zip(labels, alone[0], strict=True)) and len(labels) == 20
    others, _ = batches["branch"]
    assert len(others) == 12 and not any(torch.equal(*pair) for pair in zip(others, labels[8:], strict=True))


def test_path_ends_at_both_networks(tmp_path, batches):
    row, folder = executed(tmp_path, *WORDS, "--branch_at=8")
    path, history = pd.read_csv(folder / "path.csv"), pd.read_csv(folder / "branch.csv")
    assert path["alpha"].iloc[[0, -1]].tolist() == [0, 1] and len(path) == 11
    assert path["test_loss"].iloc[[0, -1]].tolist() == pytest.approx(
        [row["test_loss"], row["branch_test_loss"]], rel=1e-9
    )
    assert path["top1"].iloc[[0, -1]].tolist() == [row["top1"], row["branch_top1"]]
    assert history["iteration"].tolist() == [8, 10, 20] and history["top1"].iloc[-1] == row["branch_top1"]
    line = path["test_loss"].iloc[0] + path["alpha"] * (path["test_loss"].iloc[-1] - path["test_loss"].iloc[0])
    assert row["barrier"] == pytest.approx((path["test_loss"] - line).max(), abs=1e-9)
    first, second = (load_file(folder / f"{name}.safetensors") for name in ("weights", "branch"))
    assert first.keys() == second.keys() and any(not torch.equal(first[name], second[name]) for name in first)
    ends = batches["branch"][1]
    assert all(torch.equal(second[name][second[name] != 0], ends[name][second[name] != 0].cpu()) for name in second)


def test_the_second_copy_starts_with_weights_and_momentum_of_the_step(tmp_path, monkeypatch):
    """With the data order of the run, it ends where the run does."""
    train = trial.Trial.train

    def same_order(self, *callbacks, **changes):
        if "sample" in changes:
            assert changes.pop("sample") < 0
        return train(self, *callbacks, **changes)

    monkeypatch.setattr(trial.Trial, "train", same_order)
    row, folder = executed(tmp_path, *WORDS, "--branch_at=8")
    first, second = (load_file(folder / f"{name}.safetensors") for name in ("weights", "branch"))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert row["barrier"] == pytest.approx(0, abs=1e-9) and row["branch_top1"] == row["top1"]


MULTISHOT = [
    "--experiment=multishot", "--levels=1", "--rewind=4", "--pruner=magnitude", "--target_sparsity=0.5", *WORDS[1:],
]  # fmt: skip


@pytest.mark.parametrize("more", [[], ["--reinitialize"]])
def test_the_last_network_of_multishot_is_branched(tmp_path, batches, more):
    plain, plain_folder = executed(tmp_path / "plain", *MULTISHOT, *more)
    batches.clear()
    row, folder = executed(tmp_path / "branched", *MULTISHOT, *more, "--branch_at=8")
    assert (folder / "weights.safetensors").read_bytes() == (plain_folder / "weights.safetensors").read_bytes()
    path = pd.read_csv(folder / "path.csv")
    assert path["test_loss"].iloc[0] == pytest.approx(row["test_loss"], rel=1e-9) and row["top1"] == plain["top1"]
    assert len(batches["branch"][0]) == 12
    assert list(batches) == ["level-0", "level-1", *(["level-1-new"] if more else []), "branch"]


def test_what_is_not_trained_or_diverges_has_no_path(tmp_path):
    row, folder = executed(tmp_path / "collapsed", *WORDS, "--branch_at=8", "--target_sparsity=0.99999")
    assert row["collapsed"] and not (folder / "path.csv").exists()
    assert call(tmp_path / "diverged", *WORDS, "--branch_at=8", "--lr=1e30") == 1
    (row,) = (row for _, row in rows_of(tmp_path / "diverged").iterrows())
    assert row["status"] == "failed" and row["error"].startswith("training diverged")


def test_a_branch_that_diverges_fails_the_run(tmp_path, monkeypatch):
    original = trial.Trial.train

    def diverging(self, *callbacks, **changes):
        history = original(self, *callbacks, **changes)
        if "sample" in changes:
            history.error = "training diverged: the loss is not finite at iteration 20"
        return history

    monkeypatch.setattr(trial.Trial, "train", diverging)
    assert call(tmp_path, *WORDS, "--branch_at=8") == 1
    (row,) = (row for _, row in rows_of(tmp_path).iterrows())
    assert row["error"] == "the branch at step 8: training diverged: the loss is not finite at iteration 20"


@pytest.mark.parametrize(("words", "message"), [
    (["--branch_at=20", "--iterations=20"], "--branch_at=20 must be less than the 20 iterations of training"),
    (["--branch_at=-1"], "--branch_at must be at least 0, not -1"),
    (["--branch_at=3", "--train=0"], "--branch_at has no effect with --train=0; leave it out"),
    (["--branch_at=3", "--iterations=20", *MULTISHOT], "--branch_at=3 is before --rewind=4, where the last"),
    (["--branch_at=3", "--experiment=gradual"], "it belongs to singleshot and multishot"),
])  # fmt: skip
def test_steps_that_cannot_be_branched_at(tmp_path, capsys, words, message):
    assert execute(tmp_path, "--data=digits", *words) == 2
    assert message in capsys.readouterr().err and not list(tmp_path.rglob("*.csv"))


def test_the_dense_parent_has_no_branch():
    (plain,) = runs("--pruner=dense")
    (need,) = needs_of(runs("--pruner=magnitude", "--branch_at=5")[0])
    assert need.settings.key() == plain.key() != runs("--pruner=dense", "--branch_at=5")[0].key()


def test_a_dense_network_of_multishot_is_branched(tmp_path, batches):
    words = ["--experiment=multishot", "--levels=1", "--rewind=4", "--branch_at=3", "--reinitialize", *WORDS[1:]]
    assert call(tmp_path, *words, "--pruner", "dense", "magnitude", "--target_sparsity=0.5") == 0
    rows = rows_of(tmp_path).set_index("pruner")
    assert rows["barrier"].notna().all() and (rows["error"] == "").all()
    assert [len(labels) for labels, _ in (batches["branch"],)] == [17]
