"""Selection of stored runs: finished runs by folder, name or pattern, and by the values of their settings."""

from __future__ import annotations

import glob
import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import pandas as pd

from Utils.config.settings import Settings
from Utils.config.stored_settings import stored_settings
from Utils.config.target import sparsity_of
from Utils.errors import UserError, unknown
from Utils.files import DamagedError, is_file
from Utils.results.digests import RECORD, read_record
from Utils.results.folders import find_run, run_folders
from Utils.results.summaries import read_summaries, read_table

_DENSITY = "target_density"

_TRUE, _FALSE = ("1", "true", "yes", "on"), ("0", "false", "no", "off")


@dataclass(frozen=True)
class StoredRun:
    """A finished run in a results folder."""

    folder: Path
    key: str
    values: Mapping[str, Any]
    """The JSON values of all its settings, with those of its experiment."""
    row: pd.Series
    """Its row of `summary.csv`."""

    @property
    def settings(self) -> Settings:
        """The settings that all experiments have; raises `DamagedError` if this version cannot read them."""
        try:
            return stored_settings(self.values)
        except (ValueError, TypeError, ArithmeticError) as error:
            raise DamagedError(f"{self.folder / RECORD} is damaged: {error}") from error


def select_runs(results: str | Path, words: Sequence[str], within: Mapping[str, str] | None = None) -> list[StoredRun]:
    """The finished runs that words name and that pass their filters, in the order of their folders.

    A word is a folder, a run's name or key, a pattern with `*`, or a filter `SETTING=VALUE`. Runs come first; a word
    without `=` after a filter is a further value of it, so `sample=0 1` accepts both samples. Without the name of a
    run, all runs in `results` are filtered. Studies are no runs here. `within` are filters that apply in any case.
    Raises `UserError` if a word names no finished run, a filter no setting, or nothing passes all filters.
    """
    names, filters = _parsed(words)
    rows = _rows(Path(results), names)
    if rows.empty:
        raise UserError(f"--runs: {results} holds no finished runs")
    runs = [_stored(row) for _, row in rows.iterrows()]
    every = [*((name, [value]) for name, value in (within or {}).items()), *filters.items()]
    for name, accepted in every:
        if not any(name in run.values for run in runs):
            settings = {key for run in runs for key in run.values}
            raise unknown("setting of --runs", name, sorted(settings), listed_by="python main.py --help")
        runs = _filtered(runs, name, accepted)
    return runs


def _filtered(runs: Sequence[StoredRun], name: str, accepted: Sequence[str]) -> list[StoredRun]:
    """The runs with one of the values of a setting; raises `UserError` for a value that none has."""
    for text in accepted:
        if not any(_same(run.values.get(name), text) for run in runs):
            there = ", ".join(sorted({_text(run.values.get(name)) for run in runs}))
            raise UserError(f"--runs: no finished run has {name}={text}; there are: {there}")
    return [run for run in runs if any(_same(run.values.get(name), text) for text in accepted)]


def runs_key(runs: Iterable[StoredRun]) -> str:
    """A hash of the keys of runs, whatever their order."""
    keys = "\n".join(sorted(run.key for run in runs))
    return hashlib.sha256(keys.encode()).hexdigest()[:10]


def check_unchanged(runs: Iterable[StoredRun], key: str | None) -> None:
    """Raise `UserError` unless runs that were selected again are still those of a result of `runs_key`."""
    if runs_key(runs) != key:
        raise UserError("--runs: other runs than at the start of this command are finished now; start it again")


def runs_by_key(results: str | Path, keys: Collection[str]) -> list[StoredRun]:
    """The finished runs with these keys, in the order of their folders."""
    rows = read_summaries(results).rows
    return [_stored(row) for _, row in rows[rows["run"].isin(keys) & (rows["status"] == "complete")].iterrows()]


def _parsed(words: Sequence[str]) -> tuple[list[str], dict[str, list[str]]]:
    """The runs that words name, and the accepted values of each setting."""
    names: list[str] = []
    filters: dict[str, list[str]] = {}
    accepted = names
    for word in words:
        setting, equals, value = word.partition("=")
        if equals and not Path(word).exists():
            accepted = filters.setdefault(setting.replace("-", "_").lstrip("_"), [])
            accepted.append(value)
        else:
            accepted.append(word)
    if _DENSITY in filters:  # stored as a sparsity
        filters.setdefault("target_sparsity", []).extend(map(_sparsity, filters.pop(_DENSITY)))
    return names, filters


def _sparsity(text: str) -> str:
    """The sparsity of a density, as text."""
    try:
        return str(sparsity_of(Decimal(text)))
    except ArithmeticError:
        raise UserError(f"--runs: {_DENSITY}={text} is not a number") from None


def _rows(results: Path, names: Sequence[str]) -> pd.DataFrame:
    """The rows of the finished runs with these names, each once; of all runs in `results` if there are no names."""
    if not names:
        if not results.is_dir():
            raise UserError(f"--runs: there is no folder {results}; --out_path names the folder of results")
        return _of_networks(read_summaries(results).rows)
    parts = []
    for name in names:
        tables = ((folder, read_table(folder, "summary")) for folder in _folders(results, name))
        rows = [table.assign(folder=str(folder)) for folder, table in tables if table is not None]
        finished = [table for table in map(_of_networks, rows) if len(table)]
        if not finished:
            raise UserError(
                f"--runs: {name} names no finished run of a network; give a folder, a run's name, or SETTING=VALUE"
            )
        parts += finished
    return pd.concat(parts).drop_duplicates("folder")


def _of_networks(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows of finished runs that are no studies, which prune no network."""
    return rows[(rows["status"] == "complete") & rows["prunable"].notna()]


def _folders(results: Path, name: str) -> list[Path]:
    """The folders of the runs that a name stands for, or that lie below a folder that it stands for."""
    places = [Path(found) for found in sorted(glob.glob(name))]
    if results.is_dir():
        places = places or [results / found for found in sorted(glob.glob(name, root_dir=results))]
        places = places or find_run(results, name)
    inner = (
        [place] if is_file(place / RECORD) else [place / one for one in sorted(run_folders(place))] for place in places
    )
    return [folder for folders in inner for folder in folders]


def _stored(row: pd.Series) -> StoredRun:
    folder = Path(row["folder"])
    return StoredRun(folder, str(row["run"]), read_record(folder).values["settings"], row)


def _text(value: Any) -> str:
    """A JSON value as one types it."""
    if isinstance(value, list):
        return ",".join(map(_text, value))
    return "none" if value is None else str(int(value)) if isinstance(value, bool) else str(value)


def _same(value: Any, text: str) -> bool:
    """Whether a JSON value is the one that a text stands for; equal numbers are the same, however they are written."""
    if isinstance(value, bool):
        return text.lower() in (_TRUE if value else _FALSE)
    if _text(value) == text:
        return True
    try:
        return float(_text(value)) == float(text)
    except ValueError:
        return False
