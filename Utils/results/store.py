"""Results folder: writes the files of each run and reads its state, checkpoints and weights.

Each run has a folder with `run.json`, `summary.csv`, `layers.csv`, `training.csv`, `masks.safetensors` and
`weights.safetensors`. Every file is written whole or not at all, `run.json` last: a folder without it is unfinished.
No other file writes results; `summaries.py` reads the tables.
"""

from __future__ import annotations

import io
import json
import tempfile
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pandas as pd

from Utils.config.flag_text import as_flags
from Utils.config.settings import Settings
from Utils.results.artifacts import Artifact, Kind, Need
from Utils.results.atomic_files import TEMPORARY, replace_file, write_error, write_file
from Utils.results.folders import folder_name
from Utils.results.outcome import Outcome
from Utils.results.record import record
from Utils.results.schema import SUMMARY_COLUMNS

if TYPE_CHECKING:
    pass

_CHECKPOINTS = "checkpoint-*.pt"


class StoredState(NamedTuple):
    """The stored state of a run."""

    status: str
    """`complete`, `failed`, or `missing` if the folder is absent, unfinished or unreadable."""
    error: str
    fingerprint: tuple[int, int] | None
    """Inode and modification time of `run.json`, which change when it is rewritten; None without `run.json`."""


class Store:
    """A results folder, with a folder for each run."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    def check_writable(self) -> None:
        """Raise `UserError` if the folder cannot be written to; call it first, so that no finished run is lost."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
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
        """`complete`, `failed`, or `missing` if the folder is absent, unfinished or unreadable."""
        return self.state(settings).status

    def state(self, settings: Settings) -> StoredState:
        """The stored state of a run."""
        path = self.folder(settings) / "run.json"
        # The fingerprint is taken first, so that a file rewritten during reading looks changed afterwards.
        fingerprint = None
        try:
            stat = path.stat()
            fingerprint = stat.st_ino, stat.st_mtime_ns
            record = json.loads(path.read_bytes())
            has_row = path.with_name("summary.csv").stat().st_size > 0
            if has_row and record["status"] in ("complete", "failed"):
                return StoredState(record["status"], str(record.get("error", "")), fingerprint)
        except (OSError, ValueError, KeyError, TypeError):
            pass
        return StoredState("missing", "", fingerprint)

    def has_artifact(self, need: Need) -> bool:
        """Whether what a need asks for is stored and undamaged."""
        from safetensors import SafetensorError, safe_open

        if need.kind == "tables":
            return True  # a complete run has its tables
        try:
            with safe_open(self.folder(need.settings) / f"{need.kind}.safetensors", "pt"):
                return True
        except (OSError, SafetensorError):
            return False

    def read_checkpoints(self, settings: Settings) -> dict[str, bytes]:
        """The checkpoints of an interrupted run, by file name."""
        try:
            return {path.name: path.read_bytes() for path in self.folder(settings).glob(_CHECKPOINTS)}
        except OSError:
            return {}

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
        """What a need asks for of a complete run; None if it is not stored or not readable."""
        from safetensors import SafetensorError

        if self.status(need.settings) != "complete":
            return None
        try:
            return _read_artifact(self.folder(need.settings), need.kind)
        except (OSError, ValueError, SafetensorError):
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
        folder = self.folder(settings)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            # A repeated run is unfinished until its new run.json is written, and keeps no old file.
            tables = {"layers": outcome.layers, "training": outcome.training, **outcome.tables, "summary": row}
            _delete_attachments(folder)
            (folder / "run.json").unlink(missing_ok=True)
            for old in (*folder.glob("*.csv"), *folder.glob("*.safetensors"), *folder.glob(f".*{TEMPORARY}")):
                if old.stem not in tables:
                    old.unlink()
            for name, table in tables.items():
                write_file(folder / f"{name}.csv", table.to_csv(index=False).encode())
            for name, content in outcome.attachments.items():
                write_file(folder / name, content)
            if outcome.masks is not None:
                write_file(folder / "masks.safetensors", outcome.masks.to_bytes())
            if outcome.weights:
                from safetensors.torch import save

                write_file(folder / "weights.safetensors", save(outcome.weights))
            write_file(folder / "run.json", json.dumps(record(settings, outcome, seconds), indent=1).encode())
            for old in () if keeps_checkpoints else folder.glob(_CHECKPOINTS):
                old.unlink()
        except OSError as error:
            raise write_error(folder, error) from error
        return row


def _delete_attachments(folder: Path) -> None:
    """Delete the files that an earlier execution of a run attached."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        for name in json.loads((folder / "run.json").read_bytes())["attachments"]:
            (folder / Path(name).name).unlink(missing_ok=True)


def _read_artifact(folder: Path, kind: Kind) -> Artifact:
    if kind == "tables":
        contents = {path.stem: path.read_bytes() for path in sorted(folder.glob("*.csv"))}
        tables = {name: pd.read_csv(io.BytesIO(content)) for name, content in contents.items()}
        return Artifact(sha256(b"\n".join(contents.values())).hexdigest(), tables=tables)
    from safetensors.torch import load

    from Layers import Masks

    path = folder / f"{kind}.safetensors"
    content = path.read_bytes()
    digest = sha256(content).hexdigest()
    return Artifact(digest, masks=Masks.load(path)) if kind == "masks" else Artifact(digest, weights=load(content))


def artifact_of(outcome: Outcome, need: Need) -> Artifact:
    """What a need asks for of a run that was not stored; its digest is the key of the run, which is executed once."""
    summary = pd.DataFrame([outcome.summary])
    tables = {"summary": summary, "layers": outcome.layers, "training": outcome.training, **outcome.tables}
    return Artifact(need.settings.key(), outcome.weights, outcome.masks, tables)


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
