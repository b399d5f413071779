"""Results folders with anything in them: links, pipes, folders for files, deep nests, odd names, no permission."""

import json
import os
from pathlib import Path

import pytest
from users import public_folder, start_as

from Experiments.planning.resolve import baseline, resolve
from Utils.config.settings import Settings
from Utils.files import UnreadableError  # noqa: F401
from Utils.results.folders import find_run, run_folders
from Utils.results.outcome import Outcome
from Utils.results.store import Store
from Utils.results.summaries import load_summaries, read_summaries

PLAIN = resolve(Settings().with_values(data="digits")).settings
USUAL = baseline(PLAIN.run, PLAIN.training.validation)


def write(folder: Path, sample: int = 0) -> Path:
    store, run = Store(folder), PLAIN.with_values(sample=sample)
    store.write(run, USUAL, Outcome.of_study({}, {"top1": 0.5}), 1.0)
    return store.folder(run)


ODD = {
    "pipe": os.mkfifo, "folder": os.mkdir, "loop": lambda path: os.symlink(path, path),
    "nowhere": lambda path: os.symlink("nowhere", path), "device": lambda path: os.symlink("/dev/zero", path),
    "nested": lambda path: path.write_text("[" * 100_000),
    "large": lambda path: (path.touch(), os.truncate(path, 1 << 40)),
}  # fmt: skip


@pytest.mark.parametrize("kind", ODD)
@pytest.mark.parametrize("name", ["run.json", "summary.csv"])
def test_what_is_no_file_is_named_and_nothing_waits(tmp_path, name, kind):
    write(tmp_path, 1)
    path = write(tmp_path) / name
    path.unlink()
    ODD[kind](path)
    read = read_summaries(tmp_path)
    assert len(read.rows) == 1
    is_unfinished = name == "run.json" and kind == "nowhere"
    assert [str(path) in text for text in read.left_out] == [True] * (not is_unfinished)
    assert Store(tmp_path).status(PLAIN) == "missing"


def test_links_are_followed_once_and_never_in_a_circle(tmp_path):
    results, elsewhere = tmp_path / "Results", tmp_path / "disk" / "elsewhere"
    folder, other = write(results), write(elsewhere, 1)
    names = ["again", "circle", "itself", "up", "outside", "outside too", "run", "file", "nowhere"]
    targets = [results / "singleshot", results, results / "itself", tmp_path, elsewhere, elsewhere.parent, folder]
    for name, target in zip(names, [*targets, folder / "run.json", "nowhere"], strict=True):
        (results / name).symlink_to(target)
    (elsewhere / "back").symlink_to(results)
    (folder.parent / "circle").symlink_to("..")
    assert sorted(load_summaries(results)["sample"]) == [0, 1]
    assert sum(name.endswith(other.name) for name in run_folders(results)) == 1
    assert find_run(results, PLAIN.key()) == [folder]


def test_a_linked_folder_that_contains_another_is_read_whole(tmp_path):
    results, disk = tmp_path / "Results", tmp_path / "disk"
    results.mkdir()
    write(disk / "a", 1), write(disk / "b", 2)
    for name, target in (("z", disk / "a"), ("y", disk)):
        (results / name).symlink_to(target)
    assert sorted(load_summaries(results)["sample"]) == [1, 2]


def test_folders_of_any_depth_and_name(tmp_path):
    write(tmp_path)
    (tmp_path / os.fsdecode(b"\xff\xfe")).mkdir()
    moved = write(tmp_path, 1).rename(tmp_path / os.fsdecode(b"\xff\xfe") / "0_10_x")
    place = tmp_path
    for _ in range(1200):
        place /= "d"
        place.mkdir()
    try:
        assert sorted(load_summaries(tmp_path)["sample"]) == [0, 1] and moved.is_dir()
    finally:
        while place != tmp_path:  # which pytest cannot delete
            place.rmdir()
            place = place.parent


def test_an_unreadable_file_or_folder_is_not_called_damaged():
    with public_folder() as results:
        write(results), write(results, 1), write(results, 2)
        folders = [Store(results).folder(PLAIN.with_values(sample=sample)) for sample in range(3)]
        locked = [folders[0] / "run.json", folders[1] / "summary.csv", results / "locked" / "run.json"]
        locked[2].mkdir(parents=True)
        for path in (*locked[:2], locked[2].parent):
            path.chmod(0)
        before = "from tests.results.test_odd_folders import *\nload_summaries('tests')\n"
        code = (
            "results = Path(sys.argv[1])\n"
            "print(read_summaries(results).left_out)\n"
            "for sample in (0, 1):\n"
            "    try: Store(results).state(PLAIN.with_values(sample=sample))\n"
            "    except UnreadableError as error: print(error)\n"
        )
        process = start_as(12345, [12345], before, code, results)
        out = process.communicate(timeout=120)[0]
        locked[2].parent.chmod(0o755)
    assert process.returncode == 0, out
    left_out, *lines = out.splitlines()
    assert all(f"{path} is unreadable: permission denied; it is left out'" in left_out for path in locked), left_out
    assert lines == [f"{locked[0]} is unreadable: permission denied"], "other files count as unchanged by their times"


@pytest.mark.parametrize("change", [{"size": "x"}, {"sha256": 5}, {"further": 1}, {"modified": None}])
def test_a_record_with_a_right_digest_and_odd_entries(tmp_path, change):
    from Utils.results.digests import _own_digest

    folder = write(tmp_path)
    record = json.loads((folder / "run.json").read_bytes())
    record["files"]["layers.csv"] |= change
    record["files"]["../../../../../../../../etc/passwd"] = record["files"]["layers.csv"]
    record["digest"] = _own_digest(record)
    (folder / "run.json").write_text(json.dumps(record))
    read = read_summaries(tmp_path)
    is_whole = change in ({"sha256": 5}, {"modified": None})  # unread while size and time are as stored
    assert len(read.rows) == is_whole and "passwd" not in str(read.left_out) and len(read.left_out) == (not is_whole)
