"""Results folder: writes the files of each run and reads its state, checkpoints and weights.

Each run has a folder with `run.json`, `summary.csv`, `layers.csv`, `training.csv`, `masks.safetensors` and
`weights.safetensors`. Every file is written whole or not at all, `run.json` last: a folder without it is unfinished.
No other file writes results; `summaries.py` reads the tables.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from Utils.config.flag_text import as_flags
from Utils.config.settings import Settings
from Utils.errors import UserError
from Utils.files import DamagedError, UnreadableError, is_file, reading
from Utils.results.artifacts import Artifact, Need, read_artifact
from Utils.results.atomic_files import TEMPORARY, replace_file, write_error, write_file
from Utils.results.digests import RECORD, check_files, digest_of, read_record, sealed
from Utils.results.folders import folder_name
from Utils.results.outcome import Outcome
from Utils.results.record import record
from Utils.results.schema import SUMMARY_COLUMNS
from Utils.results.sharing import make_folder

_CHECKPOINTS = "checkpoint-*.pt"
_FILES = ("*.csv", "*.safetensors", f".*{TEMPORARY}")

_ATTEMPTS = 3
"""Give up writing a run after its folder was deleted this many times meanwhile."""


class StoredState(NamedTuple):
    """The stored state of a run."""

    status: str
    """`complete`, `failed`, or `missing` if the folder is absent, unfinished or damaged."""
    error: str = ""
    fingerprint: tuple[int, int] | None = None
    """Inode and modification time of `run.json`, which change when it is rewritten; None without `run.json`."""
    damage: str = ""
    """What is wrong with a stored run; empty otherwise."""


class Store:
    """A results folder, with a folder for each run."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    def check_writable(self) -> None:
        """Raise `UserError` if the folder cannot be written to; call it first, so that no finished run is lost."""
        try:
            make_folder(self.path)
            with tempfile.TemporaryFile(dir=self.path) as file:
                file.write(b"x" * 4096)
        except OSError as error:
            raise write_error(self.path, error) from error

    def folder(self, settings: Settings) -> Path:
        """The folder of a resolved run."""
        run, pruning = settings.run, settings.pruning
        if settings.is_study:
            return self.path / folder_name(run.experiment) / settings.key()
        parts = (run.experiment, run.architecture, run.data, pruning.pruner, pruning.pruning_type)
        name = f"{run.sample}_{1 / settings.target.density:.6g}_{settings.key()}"
        return self.path.joinpath(*(folder_name(str(part)) for part in parts), name)

    def status(self, settings: Settings) -> str:
        """`complete`, `failed`, or `missing` if the folder is absent, unfinished or damaged."""
        return self.state(settings).status

    def state(self, settings: Settings) -> StoredState:
        """The stored state of a run; raises `UnreadableError` if its files exist and cannot be opened."""
        folder = self.folder(settings)
        if not is_file(folder / RECORD):
            return StoredState("missing")
        fingerprint = None
        try:
            # The fingerprint is taken first, so that a file rewritten during reading looks changed afterwards.
            state = os.stat(folder / RECORD)
            fingerprint = state.st_ino, state.st_mtime_ns
            record = read_record(folder)
            check_files(folder, record)
            return StoredState(record.status, str(record.values.get("error", "")), fingerprint)
        except DamagedError as error:
            return StoredState("missing", "", fingerprint, str(error))
        except (UnreadableError, FileNotFoundError):
            if is_file(folder / RECORD):
                raise
            return StoredState("missing")  # another command has begun to replace it

    def has_artifact(self, need: Need) -> bool:
        """Whether what a need asks for of a complete run is stored."""
        return need.kind == "tables" or is_file(self.folder(need.settings) / f"{need.kind}.safetensors")

    def read_checkpoints(self, settings: Settings) -> dict[str, bytes]:
        """The checkpoints of an interrupted run, by file name; raises `UnreadableError` if one cannot be opened."""
        contents = {}
        for path in filter(is_file, self.folder(settings).glob(_CHECKPOINTS)):
            with reading(path, "a checkpoint"):
                contents[path.name] = path.read_bytes()
        return contents

    def delete_checkpoints(self, settings: Settings) -> None:
        """Delete all checkpoints of a run; raises `UserError` if they cannot be deleted."""
        try:
            for path in self.folder(settings).glob(_CHECKPOINTS):
                path.unlink(missing_ok=True)
        except OSError as error:
            raise write_error(self.folder(settings), error) from error

    def write_checkpoint(self, settings: Settings, name: str, content: bytes) -> None:
        """Write a checkpoint, from which the run can resume; raises `UserError` if it cannot be written."""
        replace_file(self.folder(settings) / name, content)

    def read_artifact(self, need: Need) -> Artifact | None:
        """What a need asks for of a complete run; None if it is not stored or damaged.

        Raises `UnreadableError` if its file exists and cannot be opened.
        """
        if self.status(need.settings) != "complete":
            return None
        try:
            return read_artifact(self.folder(need.settings), need.kind)
        except UnreadableError:
            raise
        except UserError:
            return None

    def write(
        self,
        settings: Settings,
        defaults: Settings,
        outcome: Outcome,
        seconds: float,
        keeps_checkpoints: bool = False,
    ) -> pd.DataFrame:
        """Write all files of a run and return its row of `summary.csv`; `defaults` are the settings without any flag.

        Checkpoints are deleted unless the run will resume from them. Only one process at a time may write a run.
        Raises `UserError` if a file cannot be written.
        """
        row = summary_row(settings, defaults, outcome)
        folder, contents, values = self.folder(settings), _contents(outcome, row), record(settings, outcome, seconds)
        try:
            for attempt in range(_ATTEMPTS):
                try:
                    _replace_run(folder, contents, values)
                    break
                except FileNotFoundError:  # somebody deletes the results right now
                    if attempt == _ATTEMPTS - 1:
                        raise
            for old in () if keeps_checkpoints else folder.glob(_CHECKPOINTS):
                old.unlink()
        except OSError as error:
            raise write_error(folder, error) from error
        return row


def _contents(outcome: Outcome, row: pd.DataFrame) -> dict[str, bytes]:
    """The files of a run but for `run.json`, by name."""
    tables = {"layers": outcome.layers, "training": outcome.training, **outcome.tables, "summary": row}
    contents = {f"{name}.csv": table.to_csv(index=False).encode() for name, table in tables.items()}
    contents |= outcome.attachments
    if outcome.masks is not None:
        contents["masks.safetensors"] = outcome.masks.to_bytes()
    if outcome.weights:
        from safetensors.torch import save

        contents["weights.safetensors"] = save(outcome.weights)
    return contents


def _replace_run(folder: Path, contents: Mapping[str, bytes], values: Mapping[str, Any]) -> None:
    """Write the files of a run, `run.json` last, and delete the old ones; raises `OSError`."""
    make_folder(folder)
    old = {path.name for pattern in _FILES for path in folder.glob(pattern)} | _attachments(folder)
    # A run that is executed again is unfinished until its new run.json is written.
    (folder / RECORD).unlink(missing_ok=True)
    for name in old - contents.keys():
        (folder / name).unlink(missing_ok=True)
    for name, content in contents.items():
        write_file(folder / name, content)
    digests = {name: digest_of(folder / name, content) for name, content in contents.items()}
    write_file(folder / RECORD, sealed(values, digests))


def _attachments(folder: Path) -> set[str]:
    """The files that an earlier execution of a run attached."""
    with suppress(UserError, TypeError):
        return {Path(str(name)).name for name in read_record(folder).values.get("attachments", ())}
    return set()


def summary_row(settings: Settings, defaults: Settings, outcome: Outcome) -> pd.DataFrame:
    """The row of `summary.csv`: `SUMMARY_COLUMNS`, then the experiment's additional columns."""
    run, pruning = settings.run, settings.pruning
    identity, default = settings.identity(), defaults.identity()
    identity.pop("sample", None)  # has a column of its own, so that samples of one network have equal settings
    row = dict.fromkeys(SUMMARY_COLUMNS)
    row |= {
        "run": settings.key(),
        "status": "failed" if outcome.error else "complete",
        "error": outcome.error,
        "settings": as_flags({name: identity[name] for name in identity if identity[name] != default.get(name)}),
        "experiment": run.experiment,
        "architecture": run.architecture,
        "data": run.data,
        "pruner": pruning.pruner,
        "pruning_type": pruning.pruning_type,
        "sample": run.sample,
        "target_compression": 1 / settings.target.density,
        "target_sparsity": 1 - settings.target.density,
    }
    if pruning.target_sparsity is not None:
        row["target_sparsity"] = float(pruning.target_sparsity)
    return pd.DataFrame([row | outcome.summary])
