"""Cache of image folders: what it keeps, and that nothing in it is trusted."""

import json
import os
import random
import shutil
import stat
from pathlib import Path

import pytest
import torch
from pictures import load
from safetensors import safe_open
from safetensors.torch import save_file

import main
from Utils.data import dataset, image_folder
from Utils.data.folders import cache
from Utils.data.folders.cache import ImageCache


@pytest.fixture(autouse=True)
def home(own_cache) -> Path:
    """Where decoded images are kept in the cache folder of the user."""
    return own_cache / "sparse-networks"


def only(folder: Path, suffix: str) -> Path:
    (path,) = folder.glob(f"*{suffix}")
    return path


def same(one: dataset.Data, other: dataset.Data) -> bool:
    """Whether two data sets are equal in every number."""
    pairs = [(one.factor, other.factor), (one.offset, other.offset)]
    for split, twin in ((one.train, other.train), (one.test, other.test)):
        pairs += [(split.images, twin.images), (split.labels, twin.labels)]  # type: ignore[union-attr]
    return one.classes == other.classes and all(torch.equal(*pair) for pair in pairs)


def count_reads(monkeypatch) -> list[str]:
    """The names of the functions that read images, as they are called."""
    calls: list[str] = []
    for name in ("read_headers", "decode"):
        original = getattr(image_folder, name)

        def counted(*arguments, name=name, original=original):
            calls.append(name)
            return original(*arguments)

        monkeypatch.setattr(image_folder, name, counted)
    return calls


def test_the_second_time_nothing_is_decoded(folder, monkeypatch):
    calls = count_reads(monkeypatch)
    first = load(folder)
    assert calls == ["read_headers", "decode"] and same(load(folder), first) and len(calls) == 2
    assert [stat.S_IMODE(path.stat().st_mode) for path in (folder / ".cache").iterdir()] == [0o644, 0o644]
    only(folder / ".cache", ".json").unlink()
    assert same(load(folder), first) and calls[2:] == ["read_headers"], "decoded images are found by their content"


def test_a_key_that_leads_out_of_the_folder_is_not_even_read(folder, tmp_path):
    """Written in the form of a cache that is valid but for this, and in an older form."""
    first = load(folder)
    headers = only(folder / ".cache", ".json")
    whole = headers.read_text()
    content = json.loads(whole)
    for forged in (
        {"key": "../../../x", "height": 12, "width": 10, "channels": 3},
        {**content, "key": "../../../x"},
        {**content, "headers": [["../../../x", *row[1:]] for row in content["headers"]]},
    ):
        headers.write_text(json.dumps(forged))
        only(folder / ".cache", ".safetensors").unlink()
        before = {path for path in tmp_path.rglob("*") if folder / ".cache" not in path.parents}
        assert same(load(folder), first)
        assert {path for path in tmp_path.rglob("*") if folder / ".cache" not in path.parents} == before
        assert headers.read_text() == (json.dumps(forged) if forged.get("headers") == content["headers"] else whole)


ROW = ("0" * 32, 12, 10, False, "plain", 0)
ROWS = [
    ROW[:5], (7, *ROW[1:]), ("", *ROW[1:]), ("../../../x", *ROW[1:]), (ROW[0], -12, *ROW[2:]), (ROW[0], 12.0, *ROW[2:]),
    (*ROW[:2], True, *ROW[3:]), (*ROW[:3], 0, "plain", 0), (*ROW[:4], "odd", 0), (*ROW[:4], [], 0),
    (*ROW[:4], "wide", 65536), (*ROW[:4], "wide", -1), "plain", None,
]  # fmt: skip
HEADERS = [
    "", "null", "[]", "{}", "7", '{"headers": 3}', "[" * 100_000, "\ud800".encode("utf-8", "surrogatepass"),
    b"\xff\xfe", {"headers": {}}, {"headers": [[]]}, {"headers": [ROW]}, *({"headers": [row] * 18} for row in ROWS),
]  # fmt: skip


@pytest.mark.parametrize("content", HEADERS, ids=lambda content: str(content)[:40])
def test_headers_of_another_form_are_read_again(folder, monkeypatch, content):
    """Those in dictionaries carry a digest that agrees with them: their form alone is wrong."""
    first = load(folder)
    path = only(folder / ".cache", ".json")
    whole = path.read_bytes()
    if isinstance(content, dict):
        path.write_text(json.dumps({"digest": cache._digest_of_headers(content["headers"]), **content}))
    else:
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    calls = count_reads(monkeypatch)
    assert same(load(folder), first) and calls == ["read_headers"] and path.read_bytes() == whole


def forged(path: Path, change, **metadata: str) -> None:
    """Change the tensors of a cache, with a digest that agrees with them."""
    with safe_open(str(path), "pt") as file:
        tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
    change(tensors)
    save_file(tensors, str(path), {"digest": cache._digest_of_images(tensors), **metadata})


FORGERIES = {
    "classes as labels": lambda t: t.update(train_labels=torch.full((15,), 99)),
    "no test images": lambda t: t.pop("test"),
    "floats": lambda t: t.update(train=t["train"].float()),
    "another size": lambda t: t.update(train=t["train"][..., :5].contiguous()),
    "another number": lambda t: t.update(test=t["test"][:1].clone()),
    "one channel": lambda t: t.update(train=t["train"][:, :1].contiguous()),
    "a dimension less": lambda t: t.update(test=t["test"].flatten()),
    "signed": lambda t: t.update(train=t["train"].view(torch.int8)),
}


@pytest.mark.parametrize("change", FORGERIES.values(), ids=FORGERIES)
def test_images_of_another_form_are_decoded_again(folder, monkeypatch, change):
    first = load(folder)
    path = only(folder / ".cache", ".safetensors")
    whole = path.read_bytes()
    forged(path, change)
    calls = count_reads(monkeypatch)
    assert same(load(folder), first) and calls == ["decode"] and path.read_bytes() == whole


@pytest.mark.parametrize("statistics", ["[3, [9, 9, 9], [0, 0, 0]]", "[99, 1, 2]", "{}", "", '[3, ["nan"], [null]]'])
def test_statistics_and_labels_are_never_read_from_it(folder, statistics):
    first = load(folder)
    forged(only(folder / ".cache", ".safetensors"), lambda tensors: None, statistics=statistics)
    assert same(load(folder), first)


def test_any_damaged_byte_is_noticed(folder):
    first = load(folder)
    choice = random.Random(0)
    for path in sorted((folder / ".cache").iterdir()):
        whole = path.read_bytes()
        for _ in range(60):
            position = choice.randrange(len(whole))
            flipped = bytes([whole[position] ^ (1 << choice.randrange(8))])
            path.write_bytes(whole[:position] + flipped + whole[position + 1 :])
            assert same(load(folder), first), position
        for length in (0, 1, 8, len(whole) // 2, len(whole) - 1):
            path.write_bytes(whole[:length])
            assert same(load(folder), first) and path.read_bytes() == whole


def test_pipes_folders_and_links_in_it_are_replaced(folder, tmp_path):
    first = load(folder)
    elsewhere = tmp_path / "precious.txt"
    elsewhere.write_text("mine")
    for suffix in (".json", ".safetensors"):
        path = only(folder / ".cache", suffix)
        for make in (lambda p: os.mkfifo(p), lambda p: p.symlink_to(elsewhere), lambda p: p.symlink_to(p)):
            path.unlink()
            make(path)
            assert same(load(folder), first) and path.is_file() and not path.is_symlink()
        path.unlink()
        path.mkdir()
        assert same(load(folder), first)
        path.rmdir()
        load(folder)
    assert elsewhere.read_text() == "mine"


def test_a_link_in_place_of_its_folder_is_not_followed(folder, tmp_path, home):
    (tmp_path / "other").mkdir()
    (folder / ".cache").symlink_to(tmp_path / "other")
    load(folder)
    assert not list((tmp_path / "other").iterdir()) and len(list(home.iterdir())) == 2


@pytest.mark.parametrize("failure", ["mkdir", "mkstemp", "write", "replace"])
def test_where_it_cannot_be_written(folder, home, monkeypatch, failure):
    """Beside the images: in the user's folder. Nowhere: a warning."""
    forbidden: list[Path] = [folder]
    target = {"mkdir": Path, "mkstemp": cache.tempfile, "write": cache, "replace": cache.os}[failure]
    name = "save_file" if failure == "write" else failure
    original = getattr(target, name)

    def fails(*arguments, **keywords):
        places = [str(value) for value in (*arguments, *keywords.values())]
        if any(str(parent) in place for parent in forbidden for place in places):
            raise PermissionError(13, "Permission denied")
        return original(*arguments, **keywords)

    monkeypatch.setattr(target, name, fails)
    first = load(folder)
    assert len(list(home.iterdir())) == (1 if failure == "write" else 2)
    assert failure == "write" or not list(folder.rglob(".cache/*"))
    shutil.rmtree(home)
    forbidden.append(home)
    with pytest.warns(UserWarning, match="decoded images could not be cached: no cache folder is writable"):
        assert same(load(folder), first)
    assert not [path for path in folder.parent.rglob("*.safetensors*") if path.is_file()], "nothing half-written"


def test_no_folder_of_the_user_is_needed(folder, monkeypatch):
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(cache.os.path, "expanduser", lambda path: path)
    assert ImageCache(folder).folders == [folder / ".cache"]


def test_by_command_line(folder, tmp_path, capsys):
    """Labels, statistics and keys that are forged change neither a number nor the name of a run."""
    words = ["--architecture=fc", "--data=imagefolder", f"--path_to_data={folder}", "--iterations=2", "--pruner=mag",
             "--target_sparsity=0.5", f"--out_path={tmp_path / 'out'}"]  # fmt: skip
    assert main.main(words) == 0
    (summary,) = (tmp_path / "out").rglob("summary.csv")
    first = summary.read_text()
    only(folder / ".cache", ".json").write_text('{"key": "../../../x", "height": 12, "width": 10, "channels": 3}')
    forged(only(folder / ".cache", ".safetensors"), FORGERIES["classes as labels"], statistics="[3, [9], [0]]")
    dataset.facts.cache_clear()
    dataset.read.cache_clear()
    capsys.readouterr()
    assert main.main([*words, "--overwrite"]) == 0 and not capsys.readouterr().err
    (again,) = (tmp_path / "out").rglob("summary.csv")
    assert again == summary and without_seconds(again.read_text()) == without_seconds(first)
    assert not list(tmp_path.parent.glob("x*")) and not list(tmp_path.glob("x*"))


def without_seconds(text: str) -> dict[str, str]:
    names, values = (line.split(",") for line in text.splitlines())
    return {name: value for name, value in zip(names, values, strict=True) if not name.endswith("seconds")}
