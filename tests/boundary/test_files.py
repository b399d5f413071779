"""Readers of files: every failure is one error that names the file, and tells damage from what cannot be opened."""

import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import main
from Utils.errors import UserError, describe_error, one_line
from Utils.files import DamagedError, UnreadableError, is_file, is_folder, read_json, read_text, reading

DEEP = "[" * 100_000
NOBODY = 65534


@contextmanager
def unprivileged() -> Iterator[None]:
    """The rights of a usual user, also in tests that run as root."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(user)


@pytest.fixture
def places(tmp_path) -> dict[str, Path]:
    """What may be found where a file is expected."""
    names = ("missing", "folder", "pipe", "socket", "loop", "long", "below", "device", "null")
    paths = {name: tmp_path / name for name in names} | {"device": Path("/dev/zero"), "null": Path("a\0b")}
    paths["folder"].mkdir()
    os.mkfifo(paths["pipe"])
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(paths["socket"]))
    paths["loop"].symlink_to(paths["loop"])
    paths["long"] = tmp_path / ("x" * 300)
    (tmp_path / "file").write_text("{}")
    paths["below"] = tmp_path / "file" / "below"
    return paths


@pytest.mark.parametrize(("kind", "reason"), [
    ("missing", "is unreadable: there is no such file"), ("long", "is unreadable: there is no such file"),
    ("below", "is unreadable: there is no such file"), ("loop", "is unreadable: there is no such file"),
    ("null", "is unreadable: there is no such file"), ("folder", "is a folder, not a file"),
    ("pipe", "is a pipe, not a file"), ("socket", "is a socket, not a file"), ("device", "is a device, not a file"),
])  # fmt: skip
def test_what_is_no_file_is_not_opened(places, kind, reason):
    for read in (read_json, lambda path: read_text(path, "a text")):
        with pytest.raises(UnreadableError) as caught:
            read(places[kind])
        assert str(caught.value) == f"{places[kind]} {reason}"
    assert not is_file(places[kind]) and is_folder(places[kind]) == (kind == "folder")


@pytest.mark.parametrize(
    "content", [b"", b"{", DEEP.encode(), b'{"a": ' * 50_000, b"\xff\xfe\x00", b"1" * 5000, b"nul"]
)
def test_content_that_is_no_json_is_damage(tmp_path, content):
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(DamagedError, match="file is damaged, or not the record of a run") as caught:
        read_json(tmp_path / "file", "the record of a run")
    assert len(str(caught.value)) < 500


@given(st.binary(max_size=200) | st.text(max_size=100).map(str.encode))
def test_any_content_is_read_or_is_damage(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("any") / "file"
    path.write_bytes(content)
    try:
        expected = json.loads(content)
    except (ValueError, RecursionError):
        with pytest.raises(DamagedError):
            read_json(path)
    else:
        assert json.dumps(read_json(path)) == json.dumps(expected)


def test_a_file_or_a_folder_that_may_not_be_opened(tmp_path):
    for name in ("file", "folder/file"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("{}")
        path.parent.chmod(0o755)
    for folder in (*tmp_path.parents, tmp_path):
        if folder.owner() == tmp_path.owner() and folder != Path("/tmp"):
            folder.chmod(folder.stat().st_mode | 0o111)
    (tmp_path / "file").chmod(0)
    (tmp_path / "folder").chmod(0)
    try:
        with unprivileged():
            assert is_file(tmp_path / "file")
            for name in ("file", "folder/file"):
                with pytest.raises(UnreadableError) as caught:
                    read_json(tmp_path / name)
                assert str(caught.value) == f"{tmp_path / name} is unreadable: permission denied"
            with pytest.raises(UnreadableError, match="permission denied"):
                is_file(tmp_path / "folder" / "file")
            assert main.main([f"--config={tmp_path / 'file'}"]) == 2
    finally:
        (tmp_path / "folder").chmod(0o755)


def test_failures_of_other_kinds(tmp_path):
    (tmp_path / "file").write_text("12345")
    with pytest.raises(UnreadableError, match="does not fit in memory"), reading(tmp_path / "file", "a list"):
        raise MemoryError
    with (
        pytest.raises(DamagedError, match=r"is damaged, or not a list \(KeyError\)"),
        reading(tmp_path / "file", "a list"),
    ):
        raise KeyError
    with pytest.raises(UserError, match=r"^mine$"), reading(tmp_path / "file", "a list"):
        raise UserError("mine")
    with pytest.raises(KeyboardInterrupt), reading(tmp_path / "file", "a list"):
        raise KeyboardInterrupt
    with pytest.raises(DamagedError, match=r"^it is damaged, or not a text \(more than 4 bytes\)$"):
        read_text(tmp_path / "file", "a text", "it", most=4)
    assert read_text(tmp_path / "file", "a text", most=5) == "12345"


@given(st.text(max_size=1000))
def test_any_error_is_one_line_that_can_be_printed_and_stored(message):
    for error in (ValueError(message), KeyError(message), UserError(message)):
        for line in (one_line(error), describe_error(error)):
            assert line and line.isprintable() and line.encode()
        assert isinstance(error, UserError) or len(one_line(error)) <= 303


@pytest.mark.parametrize(("word", "values"), [
    ("a.py:f,lenet5", ["a.py:f", "lenet5"]), ("b,c.py:f,lenet5,b,c.py:g", ["b,c.py:f", "lenet5", "b,c.py:g"]),
    ("b,c.py:f", ["b,c.py:f"]), ("lenet5,b,c.py:f", ["lenet5", "b,c.py:f"]), ("a.py:f,a.py:g", ["a.py:f", "a.py:g"]),
])  # fmt: skip
def test_commas_in_paths_and_between_them(tmp_path, monkeypatch, word, values):
    monkeypatch.chdir(tmp_path)
    for name in ("a.py", "b,c.py"):
        (tmp_path / name).write_text("")
    assert main.read([f"--architecture={word}"]).values["architecture"] == values


@pytest.mark.parametrize("content", [
    DEEP, "a: &x [*x]", "a: &x {b: *x}", "? [a]\n: b", ": 1", "--: 1", "a\nb", "\0", 'a: "\\0"', "%", "- - -", "~: 1",
    "a: !!python/object/apply:os.system ['touch harm']", "pruner: " + "x" * 1_000_001,
])  # fmt: skip
def test_odd_files_of_flags_are_one_line(tmp_path, monkeypatch, capsys, content):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "flags.yml").write_text(content)
    assert main.main(["--config=flags.yml"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("main.py: ") and error.count("\n") == 1 and not (tmp_path / "harm").exists()


@pytest.mark.parametrize("kind", ["missing", "folder", "pipe", "loop", "long", "below", "device"])
@pytest.mark.parametrize("flag", ["config", "weights_from", "masks_from", "architecture", "path_to_data", "out_path"])
def test_what_is_no_file_is_one_line_of_the_command(tmp_path, monkeypatch, capsys, places, flag, kind):
    if (flag, kind) in {("path_to_data", "folder"), ("out_path", "folder"), ("out_path", "missing")}:
        return
    monkeypatch.chdir(tmp_path)
    value = f"{places[kind]}.py:make" if flag == "architecture" else str(places[kind])
    data = "mnist" if flag == "path_to_data" else "digits"
    assert main.main([f"--data={data}", "--train=0", f"--{flag}={value}"]) == 2
    error = capsys.readouterr().err
    assert str(places[kind]) in error and error.count("\n") == 1 and error.startswith("main.py: ")
