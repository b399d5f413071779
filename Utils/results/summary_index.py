"""What do the summaries of all runs say, without reading every file again?

An index beside the runs remembers each row with the marks of the files that it came from: inode, time and size. A row
whose files have other marks is read again, so that the index is never trusted further than the files bear it out; where
it cannot be written, everything is read each time.
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

_NAME = ".index.json"
_VERSION = 1
_DEPTH = 6
"""Folders between the results folder and a run's files."""

_FEW = 20
"""Rows that are read anew without being worth another index."""

Fingerprint = list[int]


class Entry(NamedTuple):
    """The one row of a `summary.csv`, as text."""

    fingerprint: Fingerprint
    header: str
    row: str


def read(results: Path, required: Sequence[str], numbers: Sequence[str]) -> tuple[dict[str, Entry], list[Path]]:
    """Every run's row, by its folder, in order, and the folders that cannot be read.

    A row must have the required columns and be of the status that `run.json` has; what stands in the columns of
    numbers must be numbers.
    """
    known = _load(results)
    found: dict[str, Entry] = {}
    damaged = []
    for folder, marks in sorted(_runs(results)):
        entry = known.get(folder)
        if entry is None or entry.fingerprint != marks:
            try:
                entry = _read_row(results / folder, marks, required, numbers)
            except (OSError, ValueError, KeyError, TypeError, csv.Error):
                damaged.append(results / folder)
                continue
        found[folder] = entry
    new = sum(entry is not known.get(folder) for folder, entry in found.items())
    if new + len(known.keys() - found.keys()) > _FEW:
        _keep(results, found)
    return found, damaged


def table(entries: dict[str, Entry], text_columns: Sequence[str]) -> pd.DataFrame:
    """All rows, with their folders in a column of that name, in order."""
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
    """The folder of every run that has a `run.json`, below the results folder, and the marks of its files."""

    def below(path: str, name: str, depth: int) -> Iterator[tuple[str, Fingerprint]]:
        if depth == 0:
            with suppress(OSError):
                yield name, _fingerprint(path)
            return
        with suppress(OSError), os.scandir(path) as entries:
            for entry in entries:
                if not entry.name.startswith(".") and entry.is_dir():
                    yield from below(entry.path, f"{name}/{entry.name}" if name else entry.name, depth - 1)

    return below(str(results), "", _DEPTH)


def _fingerprint(folder: str) -> Fingerprint:
    record = os.stat(f"{folder}/run.json")
    marks = [record.st_ino, record.st_mtime_ns, record.st_size]
    with suppress(OSError):
        summary = os.stat(f"{folder}/summary.csv")
        marks += [summary.st_ino, summary.st_mtime_ns, summary.st_size]
    return marks


def _read_row(folder: Path, marks: Fingerprint, required: Sequence[str], numbers: Sequence[str]) -> Entry:
    """Read a row; raises an error of some kind unless it is what it should be."""
    status = json.loads((folder / "run.json").read_bytes())["status"]
    text = (folder / "summary.csv").read_text().strip("\n")
    names, *rows = csv.reader(io.StringIO(text), strict=True)
    if len(rows) != 1 or len(rows[0]) != len(names) or not set(required) <= set(names):
        raise ValueError("not one row with the columns of summary.csv")
    values = dict(zip(names, rows[0], strict=True))
    if values["status"] != status:
        raise ValueError("a row of another run")
    for name in numbers:
        if values[name] not in ("", "True", "False"):
            float(values[name])
    header, _, row = text.partition("\n")
    return Entry(marks, header.strip("\r"), row)


def _load(results: Path) -> dict[str, Entry]:
    try:
        content = json.loads((results / _NAME).read_bytes())
        if content["version"] != _VERSION:
            return {}
        headers = content["headers"]
        return {folder: Entry(marks, headers[number], row) for folder, (marks, number, row) in content["rows"].items()}
    except (OSError, ValueError, KeyError, TypeError, IndexError, AttributeError):
        return {}


def _keep(results: Path, entries: dict[str, Entry]) -> None:
    numbers: dict[str, int] = {}
    rows = {
        folder: [entry.fingerprint, numbers.setdefault(entry.header, len(numbers)), entry.row]
        for folder, entry in entries.items()
    }
    content = {"version": _VERSION, "headers": list(numbers), "rows": rows}
    with suppress(UserError):
        replace_file(results / _NAME, json.dumps(content).encode())
