"""Summary index: the summary rows of all runs, read anew only for runs whose files have changed.

An index file beside the runs stores each row with a fingerprint of its files: inode, modification time and size. A row
is read again if the fingerprint differs, so the index never overrides the files. If the index cannot be written, every
row is read each time.
"""

import csv
import io
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from Utils.errors import UserError
from Utils.results.atomic_files import replace_file
from Utils.results.folders import run_folders

_NAME = ".index.json"
_VERSION = 1
_TOLERATED_CHANGES = 20
"""The index is rewritten only for more changes than these, because reading a few rows anew is cheaper."""

Fingerprint = list[int]
"""Inode, modification time in ns and size of `run.json`, then of `summary.csv` if it exists."""


class Entry(NamedTuple):
    """Header and row of a `summary.csv`, as text."""

    fingerprint: Fingerprint
    header: str
    row: str


def read(results: Path, required: Sequence[str], numbers: Sequence[str]) -> tuple[dict[str, Entry], list[Path]]:
    """The rows of all runs by folder, in order, and the folders that cannot be read.

    A row must have the `required` columns and the status of `run.json`, and its columns `numbers` must hold numbers,
    booleans or nothing.
    """
    index = _read_index(results)
    rows: dict[str, Entry] = {}
    damaged = []
    for folder, fingerprint in sorted(_runs(results)):
        entry = index.get(folder)
        if entry is None or entry.fingerprint != fingerprint:
            try:
                entry = _read_row(results / folder, fingerprint, required, numbers)
            except (OSError, ValueError, KeyError, TypeError, csv.Error):
                damaged.append(results / folder)
                continue
        rows[folder] = entry
    changed = sum(entry is not index.get(folder) for folder, entry in rows.items())
    if changed + len(index.keys() - rows.keys()) > _TOLERATED_CHANGES:
        _write_index(results, rows)
    return rows, damaged


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


def _runs(results: Path) -> Iterator[tuple[str, Fingerprint]]:
    """The folder of each run, relative to the results folder, and its fingerprint."""
    for folder in run_folders(results):
        with suppress(OSError):
            yield folder, _fingerprint(f"{results}/{folder}")


def _fingerprint(folder: str) -> Fingerprint:
    record = os.stat(f"{folder}/run.json")
    fingerprint = [record.st_ino, record.st_mtime_ns, record.st_size]
    with suppress(OSError):
        summary = os.stat(f"{folder}/summary.csv")
        fingerprint += [summary.st_ino, summary.st_mtime_ns, summary.st_size]
    return fingerprint


def _read_row(folder: Path, fingerprint: Fingerprint, required: Sequence[str], numbers: Sequence[str]) -> Entry:
    """Read the row of a run; raises the error of the first check that fails."""
    status = json.loads((folder / "run.json").read_bytes())["status"]
    text = (folder / "summary.csv").read_text().strip("\n")
    names, *rows = csv.reader(io.StringIO(text), strict=True)
    if len(rows) != 1 or len(rows[0]) != len(names) or not set(required) <= set(names):
        raise ValueError("not a single row with the columns of summary.csv")
    values = dict(zip(names, rows[0], strict=True))
    if values["status"] != status:
        raise ValueError("status differs from that of run.json")
    for name in numbers:
        if values[name] not in ("", "True", "False"):
            float(values[name])
    header, _, row = text.partition("\n")
    return Entry(fingerprint, header.strip("\r"), row)


def _read_index(results: Path) -> dict[str, Entry]:
    try:
        content = json.loads((results / _NAME).read_bytes())
        if content["version"] != _VERSION:
            return {}
        headers = content["headers"]
        rows = content["rows"].items()
        return {folder: Entry(fingerprint, headers[number], row) for folder, (fingerprint, number, row) in rows}
    except (OSError, ValueError, KeyError, TypeError, IndexError, AttributeError):
        return {}


def _write_index(results: Path, entries: dict[str, Entry]) -> None:
    numbers: dict[str, int] = {}
    rows = {
        folder: [entry.fingerprint, numbers.setdefault(entry.header, len(numbers)), entry.row]
        for folder, entry in entries.items()
    }
    content = {"version": _VERSION, "headers": list(numbers), "rows": rows}
    with suppress(UserError):
        replace_file(results / _NAME, json.dumps(content).encode())
