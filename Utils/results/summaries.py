"""Readers of results: the summary rows of all runs, and the tables of one run."""

from __future__ import annotations

import io
import re
import warnings
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from Utils.errors import UserError
from Utils.files import DamagedError, is_file, reading
from Utils.results import summary_index
from Utils.results.digests import read_file, read_record
from Utils.results.schema import ADDED_COLUMNS, NUMBER_COLUMNS, SUMMARY_COLUMNS, TEXT_COLUMNS

_SAMPLE = re.compile(r"(?:^| )--sample=\d+(?= |$)")


_ADVICE = "it is left out, and the same main.py command makes it again"

_ADD = "python -m Utils.results.add_digests"


class Summaries(NamedTuple):
    """What is read of a results folder."""

    rows: pd.DataFrame
    """One row for each run, with a column `folder`."""
    left_out: list[str]
    """One line for each folder that is damaged or unreadable."""
    note: str
    """A line about runs without digests; empty if there are none."""


def load_summaries(path: str | Path = "Results", status: str | None = "complete") -> pd.DataFrame:
    """The `summary.csv` rows of all runs below a results folder with this status; None: with any status.

    Folders without `run.json` are unfinished and skipped. Damaged and unreadable folders are skipped with a warning
    that names them. Raises `UserError` if there is no such folder.
    """
    if not Path(path).is_dir():
        raise UserError(f"there is no folder {path}; give the folder of --out_path, in which runs are stored")
    rows, left_out, note = read_summaries(path)
    for text in filter(None, (*left_out, note)):
        warnings.warn(text, stacklevel=2)
    rows = rows.drop(columns="folder")
    return rows if status is None or rows.empty else rows[rows["status"] == status].reset_index(drop=True)


def read_summaries(path: str | Path) -> Summaries:
    """All rows below a results folder, and what there is to say about the folders."""
    path = Path(path)
    required = [name for name in SUMMARY_COLUMNS if name not in ADDED_COLUMNS]
    entries, errors = summary_index.read(path, required, NUMBER_COLUMNS)
    left_out = [f"{error}; {_ADVICE if isinstance(error, DamagedError) else 'it is left out'}" for error in errors]
    if not entries:
        return Summaries(pd.DataFrame(columns=[*SUMMARY_COLUMNS, "folder"]), left_out, "")
    rows = summary_index.table(entries, TEXT_COLUMNS)
    rows = rows.reindex(columns=list(dict.fromkeys([*SUMMARY_COLUMNS, *rows.columns])))
    rows["folder"] = [str(path / folder) for folder in rows["folder"]]
    rows[list(TEXT_COLUMNS)] = rows[list(TEXT_COLUMNS)].fillna("")
    # Rows of earlier versions name the sample among the settings.
    rows["settings"] = rows["settings"].str.replace(_SAMPLE, "", regex=True)
    return Summaries(rows, left_out, _note(path, sum(not entry.has_digests for entry in entries.values())))


def _note(path: Path, count: int) -> str:
    what = "a run" if count == 1 else f"{count} runs"
    text = f"{path} holds {what} without digests, whose damage goes unnoticed; {_ADD} {path} adds them"
    return text if count else ""


def read_table(folder: str | Path, name: str) -> pd.DataFrame | None:
    """A table of a run, such as `layers`; None if the run has none or it is empty.

    Raises `DamagedError`, or `UnreadableError` if the file cannot be opened.
    """
    folder, file = Path(folder), f"{name}.csv"
    record = read_record(folder)
    if file not in record.files if record.files is not None else not is_file(folder / file):
        return None
    content = read_file(folder, file, record)
    with reading(folder / file, "a table"):
        table = pd.read_csv(io.BytesIO(content))
    return table if len(table) else None
