"""Results are written whole or not at all, found again, and a damaged one harms no other."""

import json
import os
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import torch

from Experiments.planning.resolve import baseline, resolve
from Layers import Masks
from Models import build
from Utils.config.settings import Settings
from Utils.errors import UserError
from Utils.results.artifacts import Need
from Utils.results.folders import find_run
from Utils.results.outcome import Outcome
from Utils.results.schema import LAYER_COLUMNS, SUMMARY_COLUMNS, TRAINING_COLUMNS
from Utils.results.store import Store
from Utils.results.summaries import load_summaries, read_summaries


def settings(**values) -> Settings:
    return resolve(Settings().with_values(data="digits", **values)).settings


def outcome(error: str = "") -> Outcome:
    weights = {"fc1.weight": torch.ones(2, 2)}
    layers = pd.DataFrame([{"layer": "fc1.weight"}])
    return Outcome({"top1": 0.5, "chance": 0.1}, layers, layers, Masks.of(build("lenet5")), weights, error=error)


def write(store: Store, run: Settings, error: str = "") -> None:
    store.write(run, baseline(run.run, run.training.validation), outcome(error), 1.0)


def without_digests(folder: Path) -> None:
    """Make a run one of earlier versions."""
    record = json.loads((folder / "run.json").read_bytes())
    del record["files"], record["digest"]
    (folder / "run.json").write_text(json.dumps(record))


def test_a_run_is_kept_and_found(tmp_path):
    store, run = Store(tmp_path), settings(pruner="random/igq", sample=2, lr=0.5)
    assert store.status(run) == "missing" and store.read_artifact(Need("dense", run)) is None
    write(store, run)
    assert store.folder(run) == tmp_path / f"singleshot/lenet300100/digits/random-igq/direct/2_10_{run.key()}"
    assert store.status(run) == "complete" and store.status(settings()) == "missing"
    assert torch.equal(store.read_artifact(Need("dense", run)).weights["fc1.weight"], torch.ones(2, 2))
    assert Masks.load(store.folder(run) / "masks.safetensors") == Masks.of(build("lenet5"))
    assert {path.name for path in store.folder(run).iterdir()} == {
        "run.json", "summary.csv", "layers.csv", "training.csv", "masks.safetensors", "weights.safetensors"
    }  # fmt: skip
    record = json.loads((store.folder(run) / "run.json").read_text())
    assert record["identity"]["lr"] == 0.5 and record["versions"]["torch"] and record["status"] == "complete"


def test_the_row(tmp_path):
    store, run = Store(tmp_path), settings(pruner="random/igq", sample=2, lr=0.5)
    write(store, run)
    rows = load_summaries(tmp_path)
    assert tuple(rows.columns) == (*SUMMARY_COLUMNS, "chance") and len(rows) == 1
    row = rows.iloc[0]
    assert row["settings"] == "--data=digits --pruner=random/igq --lr=0.5", "the sample has a column of its own"
    assert (row["run"], row["pruner"], row["target_sparsity"], row["error"]) == (run.key(), "random/igq", 0.9, "")
    assert row["target_compression"] == pytest.approx(10)


def test_samples_of_one_network_have_equal_settings(tmp_path):
    for sample in range(3):
        write(Store(tmp_path), settings(lr=0.5, sample=sample))
    write(Store(tmp_path), settings(lr=0.5, sample=1, momentum=0.5))
    (old,) = (path for path in tmp_path.rglob("summary.csv") if "momentum" in path.read_text())
    for before, sample in (("--lr=0.5", "--sample=1 --lr=0.5"), ("--momentum=0.5", "--momentum=0.5 --sample=12")):
        old.write_text(old.read_text().replace(before, sample))  # as earlier versions wrote it
    for path in tmp_path.rglob("run.json"):
        without_digests(path.parent)
    with pytest.warns(UserWarning, match="4 runs without digests") as warned:
        rows = load_summaries(tmp_path)
    assert len(warned) == 1
    assert rows.groupby("settings").size().to_dict() == {
        "--data=digits --lr=0.5": 3, "--data=digits --lr=0.5 --momentum=0.5": 1,
    }  # fmt: skip


@pytest.mark.parametrize(("value", "text", "sparsity"), [("1", "10", 0.9), ("0.1", "1.25893", 1 - 10**-0.1)])
def test_targets_by_compression(tmp_path, value, text, sparsity):
    from decimal import Decimal

    run = settings(com_exp=Decimal(value), target_sparsity=None)
    write(Store(tmp_path), run)
    assert Store(tmp_path).folder(run).name == f"0_{text}_{run.key()}"
    assert load_summaries(tmp_path)["target_sparsity"][0] == pytest.approx(sparsity)


def test_failed_and_unfinished_runs(tmp_path):
    store, good, bad, unfinished = Store(tmp_path), settings(), settings(sample=1), settings(sample=2)
    write(store, good)
    write(store, bad, 'it broke, "badly",\nin two lines')
    write(store, unfinished)
    (store.folder(unfinished) / "run.json").unlink()
    assert [store.status(run) for run in (good, bad, unfinished)] == ["complete", "failed", "missing"]
    assert list(load_summaries(tmp_path)["sample"]) == [0]
    rows = load_summaries(tmp_path, status=None)
    assert sorted(rows["status"]) == ["complete", "failed"] and '"badly"' in rows["error"].iloc[1]
    assert store.read_artifact(Need("dense", bad)) is None
    write(store, bad)
    assert store.status(bad) == "complete"


@pytest.mark.parametrize(
    "damage", ["summary.csv missing", "summary.csv cut", "summary.csv other", "run.json cut", "run.json list"]
)
def test_a_damaged_folder_is_named_and_left_out(tmp_path, damage):
    store = Store(tmp_path)
    good, bad = settings(), settings(sample=1)
    write(store, good)
    write(store, bad)
    name, _, kind = damage.partition(" ")
    if kind == "missing":
        (store.folder(bad) / name).unlink()
    elif kind == "cut":
        content = (store.folder(bad) / name).read_bytes()
        (store.folder(bad) / name).write_bytes(content[: len(content) // 3])
    elif kind == "list":
        (store.folder(bad) / name).write_text("[1]")
    else:
        (store.folder(bad) / "summary.csv").write_bytes(b"\x00\xff\xfe")
    read = read_summaries(tmp_path)
    assert list(read.rows["sample"]) == [0] and len(read.left_out) == 1 and not read.note
    file = store.folder(bad) / name
    assert read.left_out[0].startswith(f"{file} is {'missing' if kind == 'missing' else 'damaged'}")
    with pytest.warns(UserWarning, match=f"{bad.key()}/{file.name} is .* the same main.py command makes it again"):
        assert len(load_summaries(tmp_path)) == 1
    assert store.status(bad) == "missing" and store.state(bad).damage


def test_nothing_is_half_written(tmp_path, monkeypatch):
    store, run = Store(tmp_path), settings()
    write(store, run)
    before = {path.name: path.read_bytes() for path in store.folder(run).iterdir()}
    full = OSError(28, "No space left on device")
    original, calls = os.fsync, []

    def fail_later(handle: int) -> None:
        calls.append(handle)
        if len(calls) == 3:
            raise full
        original(handle)

    monkeypatch.setattr(os, "fsync", fail_later)
    with pytest.raises(UserError, match="No space left on device; make room"):
        write(store, run)
    assert store.status(run) == "missing", "a run that is being replaced is unfinished"
    after = {path.name: path.read_bytes() for path in store.folder(run).iterdir()}
    assert set(after) == set(before) - {"run.json"}
    assert all(after[name] == before[name] for name in after)


def test_a_folder_that_cannot_be_written_to(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"cannot write to .*file/sub"):
        Store(tmp_path / "file" / "sub").check_writable()
    Store(tmp_path / "new" / "sub").check_writable()
    assert list((tmp_path / "new" / "sub").iterdir()) == []


def test_a_run_made_again_keeps_nothing_of_the_old_one(tmp_path):
    store, run = Store(tmp_path), settings()
    write(store, run)
    store.write(run, baseline(run.run, run.training.validation), Outcome.failed("it broke"), 1.0)
    assert {path.name for path in store.folder(run).iterdir()} == {
        "run.json", "summary.csv", "layers.csv", "training.csv"
    }  # fmt: skip
    for name, columns in (("layers", LAYER_COLUMNS), ("training", TRAINING_COLUMNS)):
        table = pd.read_csv(store.folder(run) / f"{name}.csv")
        assert tuple(table.columns) == columns and table.empty


def test_held_out_images_are_all_that_is_unusual(tmp_path):
    write(Store(tmp_path), settings(validation=100))
    assert load_summaries(tmp_path)["settings"][0] == "--data=digits --validation=100"


def test_keys_are_text(tmp_path, monkeypatch):
    monkeypatch.setattr(Settings, "key", lambda self: "12e4567890")
    write(Store(tmp_path), settings())
    assert list(load_summaries(tmp_path)["run"]) == ["12e4567890"]


def test_no_results(tmp_path):
    with pytest.raises(UserError, match="there is no folder"):
        load_summaries(tmp_path / "nowhere")
    assert tuple(load_summaries(tmp_path).columns) == SUMMARY_COLUMNS


@pytest.mark.parametrize("depth", [1, 2, 7])
def test_runs_are_found_at_any_depth(tmp_path, depth):
    store, run = Store(tmp_path), settings()
    write(store, run)
    moved = tmp_path.joinpath(*"abcdefg"[:depth], f"0_10_{run.key()}")
    moved.parent.mkdir(parents=True, exist_ok=True)
    store.folder(run).rename(moved)
    assert load_summaries(tmp_path)["run"].tolist() == [run.key()]
    assert find_run(tmp_path, run.key()) == [moved] == find_run(tmp_path, moved.name)
    (tmp_path / "demo").mkdir()
    moved.rename(tmp_path / "demo" / moved.name)
    assert load_summaries(tmp_path).empty and not find_run(tmp_path, run.key()), "results of the demo are their own"


def test_a_study_has_a_folder_by_its_key_and_keeps_its_attachments(tmp_path):
    store, study = Store(tmp_path), replace(settings(), is_study=True)
    result = Outcome.of_study({"spread": pd.DataFrame({"a": [1]})}, {"top1": 0.5}, {"report.html": b"first"})
    store.write(study, baseline(study.run, study.training.validation), result, 1.0)
    folder = tmp_path / "singleshot" / study.key()
    assert store.folder(study) == folder and (folder / "report.html").read_bytes() == b"first"
    assert load_summaries(tmp_path)["top1"].tolist() == [0.5]
    tables = store.read_artifact(Need("study", study, "tables")).tables
    assert tables["spread"]["a"].tolist() == [1] and tables["summary"]["top1"].tolist() == [0.5]
    store.write(study, baseline(study.run, study.training.validation), Outcome.of_study({}), 1.0)
    assert not (folder / "report.html").exists() and not (folder / "spread.csv").exists()


def test_artifacts_of_a_run(tmp_path):
    store, run = Store(tmp_path), settings()
    write(store, run)
    masks, weights = (store.read_artifact(Need("one", run, kind)) for kind in ("masks", "weights"))
    assert masks.masks == Masks.of(build("lenet5")) and masks.digest != weights.digest
    again = store.read_artifact(Need("one", run))
    assert again.digest == weights.digest
    assert store.has_artifact(Need("one", run, "masks"))
    (store.folder(run) / "masks.safetensors").unlink()
    assert store.status(run) == "complete", "masks and weights may be deleted to save space"
    assert store.read_artifact(Need("one", run, "masks")) is None and not store.has_artifact(Need("one", run, "masks"))
    assert store.read_artifact(Need("one", run)) is not None
