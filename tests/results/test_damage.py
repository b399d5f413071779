"""Damage to stored runs is named, and never becomes a number, a figure or a source.

The number of random damages is that of the environment variable DAMAGES, or small.
"""

import json
import os
import random
import shutil
from pathlib import Path

import pandas as pd
import pytest
import torch
from safetensors.torch import save

from Experiments.planning.resolve import baseline, resolve
from Layers import Masks
from Models import build
from Utils.config.settings import Settings
from Utils.errors import UserError
from Utils.results import load_summaries, state_dicts
from Utils.results.artifacts import Need
from Utils.results.digests import read_record
from Utils.results.outcome import Outcome
from Utils.results.schema import LAYER_COLUMNS, NUMBER_COLUMNS
from Utils.results.store import Store
from Utils.results.summaries import read_summaries, read_table

DAMAGES = int(os.environ.get("DAMAGES", "60"))
RUNS = 24

PLAIN = resolve(Settings().with_values(data="digits")).settings
USUAL = baseline(PLAIN.run, PLAIN.training.validation)


def settings(sample: int) -> Settings:
    return PLAIN.with_values(sample=sample)


@pytest.fixture(scope="module")
def stored(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("stored")
    masks = Masks.of(build("lenet300100"))
    for sample in range(RUNS):
        layers = pd.DataFrame([dict.fromkeys(LAYER_COLUMNS, sample + 0.25)] * 3)
        values = dict.fromkeys(NUMBER_COLUMNS[1:], 0.869) | {"collapsed": False, "empty_layers": 0}
        outcome = Outcome(values, layers, layers, masks, {"fc1.weight": torch.full((40,), sample + 1.0)})
        outcome.tables, outcome.attachments = {"overlaps": layers}, {"report.html": b"<html>" * 9}
        Store(folder).write(settings(sample), USUAL, outcome, 1.0)
    load_summaries(folder)
    assert (folder / ".index.json").is_file()
    return folder


@pytest.fixture
def results(stored, tmp_path) -> Path:
    return Path(shutil.copytree(stored, tmp_path / "results"))


def everything(folder: Path) -> dict[str, object]:
    """All that readers get of a results folder, and the errors that they name instead."""
    read = read_summaries(folder)
    found: dict[str, object] = {
        Path(row["folder"]).name: row.drop("folder").to_dict() for _, row in read.rows.iterrows()
    }
    found["left out"] = "\n".join(read.left_out)
    store = Store(folder)
    for sample in range(RUNS):
        run, place = settings(sample), store.folder(settings(sample))
        found[f"{place.name} state"] = store.status(run), store.state(run).damage
        for name in ("layers", "training", "overlaps"):
            try:
                table = read_table(place, name)
                found[f"{place.name} {name}"] = None if table is None else table.to_csv()
            except UserError as error:
                found[f"{place.name} {name}"] = error
        for kind in ("weights", "masks"):
            artifact = store.read_artifact(Need("dense", run, kind))
            tensors = artifact and (artifact.weights if kind == "weights" else artifact.masks)
            found[f"{place.name} {kind}"] = tensors and save(dict(tensors))
            try:
                tensors = state_dicts.read(state_dicts.find(str(place), str(folder), kind))
                found[f"{place.name} {kind} of a folder"] = save(dict(tensors))
            except UserError as error:
                found[f"{place.name} {kind} of a folder"] = error
            finally:
                state_dicts.read.cache_clear()
    return found


def damage(content: bytes, generator: random.Random) -> bytes:
    """Another content: bits flipped, bytes replaced, cut off, put in, or swapped."""
    changed, place = bytearray(content), generator.randrange(len(content))
    kind = generator.choice(["bit", "bit", "bytes", "cut", "insert", "zero", "empty", "digit"])
    if kind == "bit":
        changed[place] ^= 1 << generator.randrange(8)
    elif kind == "bytes":
        for _ in range(generator.randrange(1, 9)):
            changed[generator.randrange(len(changed))] = generator.randrange(256)
    elif kind == "digit":
        digits = [index for index, byte in enumerate(changed) if chr(byte).isdigit()]
        if digits:
            changed[generator.choice(digits)] = ord(generator.choice("0123456789"))
    elif kind == "insert":
        changed[place:place] = generator.choice([b"\x00", b",", b"\n", b'"', b"[" * 50_000])
    elif kind == "zero":
        changed[place : place + 64] = bytes(len(changed[place : place + 64]))
    else:
        del changed[0 if kind == "empty" else place :]
    return bytes(changed)


def test_no_random_damage_changes_anything_silently(results):
    generator, whole = random.Random(16), everything(results)
    files = sorted(path for path in results.rglob("*") if path.is_file())
    named = 0
    for _ in range(DAMAGES):
        path = generator.choice(files)
        before = path.read_bytes()
        after = damage(before, generator)
        path.write_bytes(after)
        found = everything(results)
        run = path.parent.name
        for key in whole.keys() | found.keys():
            if key == "left out" or found.get(key) == whole.get(key):
                continue
            assert run in key, f"{key} changed by damage to {path}"
            value = found.get(key)
            if isinstance(value, UserError):
                assert run in str(value) and "\n" not in str(value)
            elif key == run:
                assert value is None and run in str(found["left out"]), (path, before, after)
            elif key == f"{run} state":
                assert isinstance(value, tuple) and value[0] == "missing" and run in value[1]
            else:
                assert value is None, (key, path, before, after)
        is_record = path.name == "run.json" and json_or_none(after) == json_or_none(before)
        if after != before and path.name != ".index.json" and not is_record:
            assert isinstance(state := found[f"{run} state"], tuple) and state[0] == "missing", (path, before, after)
            named += 1
        path.write_bytes(before)
    assert named > DAMAGES / 2
    assert everything(results) == whole


def json_or_none(content: bytes) -> object:
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        return None


def test_runs_of_earlier_versions_give_no_traceback_whatever_happens_to_them(results):
    generator = random.Random(17)
    for path in results.rglob("run.json"):
        record = json.loads(path.read_bytes())
        path.write_text(json.dumps({name: record[name] for name in record if name not in ("files", "digest")}))
    files = sorted(path for path in results.rglob("*") if path.is_file())
    read = read_summaries(results)
    assert len(read.rows) == RUNS and f"{RUNS} runs without digests" in read.note and not read.left_out
    for _ in range(DAMAGES):
        path = generator.choice(files)
        before = path.read_bytes()
        path.write_bytes(damage(before, generator))
        everything(results)
        path.write_bytes(before)


def test_a_changed_bit_is_seen_when_content_is_used_even_if_size_and_time_are_as_stored(results):
    store, run = Store(results), settings(3)
    path = store.folder(run) / "weights.safetensors"
    for kind in ("weights", "masks", "layers"):
        path = store.folder(run) / (f"{kind}.csv" if kind == "layers" else f"{kind}.safetensors")
        state, content = path.stat(), bytearray(path.read_bytes())
        content[-2] ^= 1
        path.write_bytes(content)
        os.utime(path, ns=(state.st_atime_ns, read_record(path.parent).files[path.name].modified))
        assert store.status(run) == "complete", "the look at all runs does not read their files"
        if kind == "layers":
            with pytest.raises(UserError, match=r"layers\.csv is damaged"):
                read_table(path.parent, "layers")
        else:
            assert store.read_artifact(Need("dense", run, kind)) is None
            with pytest.raises(UserError, match=rf"{kind}\.safetensors is damaged"):
                state_dicts.find(run.key(), str(results), kind)


@pytest.mark.parametrize("name", ["report.html", "overlaps.csv", "training.csv"])
@pytest.mark.parametrize("how", ["deleted", "changed", "a folder"])
def test_every_file_of_a_run_counts(results, name, how):
    path = Store(results).folder(settings(5)) / name
    content = path.read_bytes()
    path.unlink()
    if how == "changed":
        path.write_bytes(content[:-1] + b"x")
    elif how == "a folder":
        path.mkdir()
    state = Store(results).state(settings(5))
    assert state.status == "missing" and str(path) in state.damage
    is_table = name.endswith(".csv")
    assert [str(path) in text for text in read_summaries(results).left_out] == [True] * is_table


def test_a_file_that_the_record_does_not_name_is_none_of_the_run(results):
    folder = Store(results).folder(settings(5))
    (folder / "notes.csv").write_text("a,b\n1,2\n")
    assert read_table(folder, "notes") is None and Store(results).status(settings(5)) == "complete"
    artifact = Store(results).read_artifact(Need("study", settings(5), "tables"))
    assert artifact is not None and artifact.tables.keys() == {"layers", "training", "overlaps", "summary"}


@pytest.mark.parametrize("line", ["files", "digest"])
def test_a_record_cannot_lose_its_digests(results, line):
    path = Store(results).folder(settings(5)) / "run.json"
    record = json.loads(path.read_bytes())
    path.write_text(json.dumps({name: record[name] for name in record if name != line}))
    assert Store(results).status(settings(5)) == "missing"
    assert [str(path) in text for text in read_summaries(results).left_out] == [True]


def test_a_record_may_be_laid_out_anew(results):
    path = Store(results).folder(settings(5)) / "run.json"
    path.write_text(json.dumps(json.loads(path.read_bytes()), sort_keys=True).replace("\n", "\r\n"))
    assert Store(results).status(settings(5)) == "complete" and not read_summaries(results).left_out
