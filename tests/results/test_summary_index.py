"""The index of summaries saves time and is never wrong: with it and without, the same rows are read."""

import json
import os
import shutil
from hashlib import sha256
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis
from hypothesis import strategies as st

from Experiments.planning.resolve import baseline, resolve
from Utils.config.settings import Settings
from Utils.results import summary_index
from Utils.results.outcome import Outcome
from Utils.results.schema import LAYER_COLUMNS
from Utils.results.store import Store
from Utils.results.summaries import load_summaries, read_summaries

TABLE = pd.DataFrame(columns=list(LAYER_COLUMNS))
PLAIN = resolve(Settings().with_values(data="digits")).settings
USUAL = baseline(PLAIN.run, PLAIN.training.validation)


def write(folder: Path, sample: int, **summary) -> Path:
    run = PLAIN.with_values(sample=sample)
    store, error = Store(folder), summary.pop("error", "")
    values = {} if error else {"top1": sample / 100, "collapsed": False, "prunable": 10}
    store.write(run, USUAL, Outcome(values | summary, TABLE, TABLE, error=error), 1.0)
    return store.folder(run)


def forgetting(folder: Path) -> pd.DataFrame:
    """What is read without an index."""
    (folder / ".index.json").unlink(missing_ok=True)
    return load_summaries(folder, status=None)


@pytest.fixture
def folder(tmp_path):
    for sample in range(30):
        write(tmp_path, sample)
    write(tmp_path, 30, error='it broke, "badly",\nin two lines')
    write(tmp_path, 31, arm="union", levels=3)
    return tmp_path


def test_an_index_gives_the_same_rows(folder):
    first = load_summaries(folder, status=None)
    assert len(first) == 32 and (folder / ".index.json").is_file()
    pd.testing.assert_frame_equal(load_summaries(folder, status=None), first)
    pd.testing.assert_frame_equal(forgetting(folder), first)
    assert first["error"].str.contains("two lines").sum() == 1 and first["arm"].notna().sum() == 1


def test_rows_equal_those_read_one_by_one(folder):
    paths = sorted(folder.rglob("summary.csv"))
    alone = pd.concat([pd.read_csv(path, dtype={"run": str}) for path in paths], ignore_index=True)
    together = load_summaries(folder, status=None)
    for column in together.columns:
        expected = alone[column].fillna("") if column in ("error", "settings") else alone[column]
        assert list(together[column].astype(str)) == list(expected.astype(str)), column


def test_what_has_not_changed_is_not_read_again(folder, monkeypatch):
    load_summaries(folder)
    read, original = [], summary_index._read_row
    monkeypatch.setattr(
        summary_index, "_read_row", lambda place, *rest: (read.append(place), original(place, *rest))[1]
    )
    load_summaries(folder)
    assert not read
    changed = write(folder, 3, top1=0.99)
    assert (load_summaries(folder)["top1"] == 0.99).sum() == 1 and read == [changed]


@hypothesis(max_examples=25, deadline=None)
@given(changes=st.lists(st.tuples(st.integers(0, 34), st.sampled_from(["write", "fail", "edit", "delete", "damage"]))))
def test_whatever_changes_is_seen(tmp_path_factory, changes):
    folder = tmp_path_factory.mktemp("results")
    for sample in range(25):
        write(folder, sample)
    load_summaries(folder)
    for number, (sample, change) in enumerate(changes):
        place = Store(folder).folder(PLAIN.with_values(sample=sample))
        if change in ("write", "fail") or not place.is_dir():
            write(folder, sample, **({"error": "broken"} if change == "fail" else {"top1": number / 7}))
        elif change == "edit":
            text = (place / "summary.csv").read_text() if (place / "summary.csv").is_file() else ""
            (place / "summary.csv").write_text(text.replace("lenet300100", "lenet300199"))
        elif change == "delete":
            shutil.rmtree(place)
        else:
            (place / "summary.csv").write_text("no table")
        if number % 3 == 0:
            read_summaries(folder)
    rows, damaged, _ = read_summaries(folder)
    (folder / ".index.json").unlink(missing_ok=True)
    again, damaged_again, _ = read_summaries(folder)
    pd.testing.assert_frame_equal(rows, again)
    assert damaged == damaged_again


def signed(content: str) -> str:
    """An index whose digest is right."""
    return f'{{"digest": "{sha256(content.encode()).hexdigest()}", {content}'


def test_a_changed_number_in_the_index_is_not_believed(folder):
    expected = load_summaries(folder)
    index = folder / ".index.json"
    assert index.read_text().count(",0.07,") == 1
    index.write_text(index.read_text().replace(",0.07,", ",0.97,"))
    pd.testing.assert_frame_equal(load_summaries(folder), expected)


@pytest.mark.parametrize("kind", ["folder", "pipe", "loop"])
def test_an_index_that_is_no_file(folder, kind):
    expected = load_summaries(folder)
    index = folder / ".index.json"
    index.unlink()
    {"folder": os.mkdir, "pipe": os.mkfifo, "loop": lambda path: os.symlink(path, path)}[kind](index)
    pd.testing.assert_frame_equal(load_summaries(folder), expected)


@pytest.mark.parametrize("content", [
    "", "[]", "{}", '{"version": 2}', '{"version": 2, "headers": [], "rows": {}}', "[" * 100_000, "\xff",
    *map(signed, [
        '"version": 1}', '"version": 2}', '"version": 2, "headers": [], "rows": {"a": [1]}}', "[" * 100_000,
        '"version": 2, "headers": [], "rows": {"a": ["x", 5, "x", true]}}', '"version": 2, "headers": 3, "rows": []}',
        '"version": 2, "headers": ["a"], "rows": {"../../..": ["x", 0, [1], true]}}',
        '"version": 2, "headers": [5], "rows": {"a": ["x", 0, "x", true]}}',
    ]),
])  # fmt: skip
def test_an_index_that_is_damaged_is_made_again(folder, content):
    expected = load_summaries(folder)
    (folder / ".index.json").write_text(content, encoding="latin-1")
    pd.testing.assert_frame_equal(load_summaries(folder), expected)
    assert len(json.loads((folder / ".index.json").read_text())["rows"]) == 32


def test_results_that_cannot_be_written_to_are_read_all_the_same(folder, monkeypatch):
    expected = forgetting(folder)
    (folder / ".index.json").unlink(missing_ok=True)

    def refused(*rest, **options):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "replace", refused)
    pd.testing.assert_frame_equal(load_summaries(folder, status=None), expected)
    assert not (folder / ".index.json").exists()


def test_few_runs_need_no_index(tmp_path):
    for sample in range(5):
        write(tmp_path, sample)
    assert len(load_summaries(tmp_path)) == 5 and not (tmp_path / ".index.json").exists()
    os.makedirs(tmp_path / "figures" / "a")
    assert len(load_summaries(tmp_path)) == 5
