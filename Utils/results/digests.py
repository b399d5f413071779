"""Digests of runs: `run.json` holds one of every file of its run and one of its own content; readers check them.

An unchanged size and modification time spare a file its digest where only a state is asked for. Whoever uses the
content of a file computes the digest. Runs of earlier versions have none.
"""

import json
import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

from Utils.files import DamagedError, is_file, reading

RECORD = "run.json"

_MAY_LACK = tuple(f"{name}.safetensors" for name in ("masks", "weights", "predictions", "branch", "scores"))
"""Files that users may delete to save space; what needs them executes the run again."""


_LARGEST_RECORD = 1 << 24
"""Bytes of the largest `run.json` that is read."""


class Digest(NamedTuple):
    """The digest of a file, and what is compared first."""

    sha256: str
    size: int
    modified: int
    """Modification time in ns."""


class RunRecord(NamedTuple):
    """The content of a `run.json` that has been checked."""

    values: Mapping[str, Any]
    status: str
    """`complete` or `failed`."""
    files: Mapping[str, Digest] | None
    """By file name; None for a run of an earlier version."""


def digest_of(path: Path, content: bytes) -> Digest:
    """The digest of a file that has just been written with this content; raises `OSError` if it has vanished."""
    state = os.stat(path)
    return Digest(sha256(content).hexdigest(), state.st_size, state.st_mtime_ns)


def sha256_of(path: str | Path) -> str:
    """The SHA-256 of a file of any size, read once while it is unchanged; raises the errors of `reading`."""
    with reading(path, "a file"):
        state = os.stat(path)
        return _sha256_of(str(path), state.st_ino, state.st_mtime_ns, state.st_size)


@lru_cache
def _sha256_of(path: str, *state: int) -> str:
    digest = sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def sealed(values: Mapping[str, Any], files: Mapping[str, Digest]) -> bytes:
    """The content of `run.json` with the digests of the files and its own."""
    content = {**values, "files": {name: digest._asdict() for name, digest in files.items()}}
    content = json.loads(json.dumps(content))  # as it will be read
    return json.dumps({**content, "digest": _own_digest(content)}, indent=1).encode()


def _own_digest(values: Mapping[str, Any]) -> str:
    content = {name: value for name, value in values.items() if name != "digest"}
    return sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def read_record(folder: Path) -> RunRecord:
    """The checked `run.json` of a folder. Raises `DamagedError`, or `UnreadableError` if it cannot be opened."""
    path = os.path.join(folder, RECORD)
    with reading(path, "the record of a run"), open(path, "rb") as file:
        if os.fstat(file.fileno()).st_size > _LARGEST_RECORD:
            raise ValueError("too large")
        values = json.loads(file.read())
        if values["status"] not in ("complete", "failed"):
            raise ValueError("no such status")
        if not {"files", "digest"} & values.keys():
            return RunRecord(values, values["status"], None)
        if values["digest"] != _own_digest(values):
            raise _changed(path)
        files = {name: Digest(**digest) for name, digest in values["files"].items() if name == os.path.basename(name)}
        return RunRecord(values, values["status"], files)


def check_files(folder: Path, record: RunRecord, names: Iterable[str] | None = None) -> None:
    """Check all or some files of a run. Raises `DamagedError`, or `UnreadableError` if one cannot be opened.

    A file with the size and time that it was stored with counts as unchanged. A run of an earlier version must have a
    summary.
    """
    files = record.files
    if files is None:
        _require(folder / "summary.csv")
        return
    for name in files if names is None else names:
        path = os.path.join(folder, name)
        with suppress(OSError):
            state = os.stat(path)
            if (state.st_size, state.st_mtime_ns) == (files[name].size, files[name].modified):
                continue
        if name not in _MAY_LACK or os.path.lexists(path):
            _check(path, files[name])


def read_file(folder: Path, name: str, record: RunRecord | None = None) -> bytes:
    """The checked content of a file of a run. Raises `DamagedError`, or `UnreadableError` if it cannot be opened."""
    record = record or read_record(folder)
    path = os.path.join(folder, name)
    if record.files is not None and name not in record.files:
        raise DamagedError(f"{path} is no file of its run")
    digest = None if record.files is None else record.files[name]
    _require(path, digest)
    with reading(path, "a file of a run"), open(path, "rb") as file:
        content = file.read()
    if digest is not None and sha256(content).hexdigest() != digest.sha256:
        raise _changed(path)
    return content


def check_source(path: Path) -> None:
    """Check a file of weights or masks, if it is one of a run; raises the errors of `read_file`."""
    if path.name not in _MAY_LACK or not is_file(path.parent / RECORD):
        return
    record = read_record(path.parent)
    if record.files is not None and path.name in record.files:
        _check(path, record.files[path.name])


def _check(path: str | Path, digest: Digest) -> None:
    _require(path, digest)
    if sha256_of(path) != digest.sha256:
        raise _changed(path)


def _require(path: str | Path, digest: Digest | None = None) -> None:
    """Check that a file exists and has its size, before it is read: another may be larger than the memory."""
    if not is_file(path):
        raise DamagedError(f"{path} is {'no file' if os.path.lexists(path) else 'missing'}")
    with reading(path, "a file of a run"):
        if digest is not None and os.path.getsize(path) != digest.size:
            raise _changed(path)


def _changed(path: str | Path) -> DamagedError:
    return DamagedError(f"{path} is damaged: it has changed since the run was stored")
