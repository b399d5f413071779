"""Summary index: the summary rows of all runs, read anew only for runs whose files have changed.

An index file beside the runs stores each row with a fingerprint of its files: names, inodes, modification times and
sizes. A row is read again if the fingerprint differs, so the index never overrides the files. If the index cannot be
written, every row is read each time.
"""

import csv
import io
import json
import os
from collections.abc import Sequence
from contextlib import suppress
from hashlib import blake2b, sha256
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from Utils.errors import UserError
from Utils.files import reading
from Utils.results.atomic_files import replace_file
from Utils.results.digests import RECORD, check_files, read_file, read_record
from Utils.results.folders import run_folders

_NAME = ".index.json"
_VERSION = 2
_TOLERATED_CHANGES = 20
"""The index is rewritten only for more changes than these, because reading a few rows anew is cheaper."""

_START = '{"digest": "%s", '
"""The index begins with the digest of all that follows."""


class Entry(NamedTuple):
    """Header and row of a `summary.csv`, as text."""

    fingerprint: str
    """A hash of the names, inodes, modification times and sizes of `run.json` and of all tables."""
    header: str
    row: str
    has_digests: bool


def read(results: Path, required: Sequence[str], numbers: Sequence[str]) -> tuple[dict[str, Entry], list[UserError]]:
    """The rows of all runs by folder, in order, and an error for each folder that is damaged or unreadable.

    All tables of a run must be those that were stored. A row must have the `required` columns and the status of
    `run.json`, and those of its columns that are among `numbers` must hold numbers, booleans or nothing.
    """
    index = _read_index(results)
    rows: dict[str, Entry] = {}
    errors: list[UserError] = []
    for folder in sorted(run_folders(results, errors.append)):
        entry, fingerprint = index.get(folder), _fingerprint(results / folder)
        if entry is None or entry.fingerprint != fingerprint:
            try:
                entry = _read_row(results / folder, fingerprint, required, numbers)
            except UserError as error:
                # A run that is being replaced is unfinished.
                if fingerprint == _fingerprint(results / folder):
                    errors.append(error)
                continue
        rows[folder] = entry
    changed = sum(entry is not index.get(folder) for folder, entry in rows.items())
    if changed + len(index.keys() - rows.keys()) > _TOLERATED_CHANGES:
        _write_index(results, rows)
    return rows, errors


def table(entries: dict[str, Entry], text_columns: Sequence[str]) -> pd.DataFrame:
    """A table of all rows, in order, with a column `folder`."""
    by_header: dict[str, list[str]] = {}
    for folder, entry in entries.items():
        by_header.setdefault(entry.header, []).append(folder)
    tables = []
    for header, folders in by_header.items():
        text = io.StringIO("\n".join([header, *(entries[folder].row for folder in folders)]))
        rows = pd.read_csv(text, dtype=dict.fromkeys(text_columns, str), low_memory=False)  # type: ignore[arg-type]
        tables.append(rows.assign(folder=folders))
    order = {folder: position for position, folder in enumerate(entries)}
    rows = pd.concat(tables, ignore_index=True)
    return rows.iloc[rows["folder"].map(order).argsort()].reset_index(drop=True)


def _fingerprint(folder: Path) -> str:
    files = []
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.name == RECORD or entry.name.endswith(".csv"):
                state = entry.stat()
                files.append((entry.name, state.st_ino, state.st_mtime_ns, state.st_size))
    return blake2b(repr(sorted(files)).encode(), digest_size=16).hexdigest()


def _read_row(folder: Path, fingerprint: str, required: Sequence[str], numbers: Sequence[str]) -> Entry:
    """Read the row of a run and check its tables; raises `DamagedError` or `UnreadableError`."""
    record = read_record(folder)
    content = read_file(folder, "summary.csv", record)
    check_files(folder, record, [name for name in record.files or () if name.endswith(".csv")])
    with reading(folder / "summary.csv", "the row of a run"):
        text = content.decode().replace("\r\n", "\n").strip("\n")
        names, *rows = csv.reader(io.StringIO(text), strict=True)
        if len(rows) != 1 or len(rows[0]) != len(names) or not set(required) <= set(names):
            raise ValueError("not a single row with the columns of summary.csv")
        values = dict(zip(names, rows[0], strict=True))
        if values["status"] != record.status:
            raise ValueError("status differs from that of run.json")
        for name in values.keys() & set(numbers):
            _check_number(values[name])
    header, _, row = text.partition("\n")
    return Entry(fingerprint, header, row, record.files is not None)


def _check_number(text: str) -> None:
    if text not in ("", "True", "False"):
        float(text)
        if "_" in text or not text.isascii():  # numbers for Python, but not for pandas
            raise ValueError(f"{text} is no number")


def _read_index(results: Path) -> dict[str, Entry]:
    path = results / _NAME
    try:
        with reading(path, "an index"):
            content = path.read_bytes()
            start = len(_START % sha256().hexdigest())
            if content[:start].decode() != _START % sha256(content[start:]).hexdigest():
                return {}
            index = json.loads(content)
            if index["version"] != _VERSION:
                return {}
            headers, rows = index["headers"], index["rows"].items()
            entries = {name: Entry(mark, headers[number], row, own) for name, (mark, number, row, own) in rows}
            is_text = all(isinstance(entry.header, str) and isinstance(entry.row, str) for entry in entries.values())
            return entries if is_text else {}
    except UserError:
        return {}


def _write_index(results: Path, entries: dict[str, Entry]) -> None:
    numbers: dict[str, int] = {}
    rows = {
        folder: [entry.fingerprint, numbers.setdefault(entry.header, len(numbers)), entry.row, entry.has_digests]
        for folder, entry in entries.items()
    }
    content = json.dumps({"version": _VERSION, "headers": list(numbers), "rows": rows}).encode()[1:]
    with suppress(UserError):
        replace_file(results / _NAME, (_START % sha256(content).hexdigest()).encode() + content)
