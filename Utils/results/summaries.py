"""Readers of results: the summary rows of all runs, and the tables of one run."""

from __future__ import annotations

import re
import warnings
from pathlib import Path

import pandas as pd

from Utils.errors import UserError
from Utils.results import summary_index
from Utils.results.schema import NUMBER_COLUMNS, SUMMARY_COLUMNS, TEXT_COLUMNS

_SAMPLE = re.compile(r"(?:^| )--sample=\d+(?= |$)")


def load_summaries(path: str | Path = "Results", status: str | None = "complete") -> pd.DataFrame:
    """The `summary.csv` rows of all runs below a results folder with this status; None: with any status.

    Folders without `run.json` are unfinished and skipped. A damaged folder is skipped with a warning that names it.
    Raises `UserError` if there is no such folder.
    """
    if not Path(path).is_dir():
        raise UserError(f"there is no folder {path}; give the folder of --out_path, in which runs are stored")
    rows, damaged = read_summaries(path)
    for folder in damaged:
        warnings.warn(f"{folder} is damaged and left out", stacklevel=2)
    rows = rows.drop(columns="folder")
    return rows if status is None or rows.empty else rows[rows["status"] == status].reset_index(drop=True)


def read_summaries(path: str | Path) -> tuple[pd.DataFrame, list[Path]]:
    """All rows below a results folder, with a column `folder`, and the folders that cannot be read."""
    path = Path(path)
    entries, damaged = summary_index.read(path, SUMMARY_COLUMNS, NUMBER_COLUMNS)
    if not entries:
        return pd.DataFrame(columns=[*SUMMARY_COLUMNS, "folder"]), damaged
    rows = summary_index.table(entries, TEXT_COLUMNS)
    rows["folder"] = [str(path / folder) for folder in rows["folder"]]
    rows[list(TEXT_COLUMNS)] = rows[list(TEXT_COLUMNS)].fillna("")
    # Rows of earlier versions name the sample among the settings.
    rows["settings"] = rows["settings"].str.replace(_SAMPLE, "", regex=True)
    return rows, damaged


def read_table(folder: str | Path, name: str) -> pd.DataFrame | None:
    """A table of a run, such as `layers`; None if missing or empty. Raises `UserError` if the file is damaged."""
    path = Path(folder) / f"{name}.csv"
    if not path.is_file():
        return None
    try:
        table = pd.read_csv(path)
    except (OSError, ValueError) as error:
        raise UserError(f"{path} is damaged; delete its folder and run it again") from error
    return table if len(table) else None
