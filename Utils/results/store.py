"""What is kept of a run, and how is it found again? Only this file writes and reads `Results/`.

Each run has a folder with `run.json`, `summary.csv`, `layers.csv`, `training.csv`, `masks.safetensors` and
`weights.safetensors`. Every file is written whole or not at all, `run.json` last: a folder without it is unfinished.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pandas as pd

from Utils.config.settings import Settings, as_flags
from Utils.results.atomic_files import TEMPORARY, replace_file, write_error, write_file

if TYPE_CHECKING:
    from torch import Tensor

from Utils.results.folders import folder_name
from Utils.results.outcome import Outcome
from Utils.results.record import record
from Utils.results.schema import SUMMARY_COLUMNS

_CHECKPOINTS = "checkpoint-*.pt"


class StoredState(NamedTuple):
    """What there is of a run."""

    status: str
    """`complete`, `failed` or, if there is nothing or something unreadable, `missing`."""
    error: str
    fingerprint: tuple[int, int] | None
    """Others as soon as it is written again; None if there is nothing."""


class Store:
    """A results folder."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    def check_writable(self) -> None:
        """Raise `UserError` now rather than lose a finished run later."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.path) as file:
                file.write(b"x" * 4096)
        except OSError as error:
            raise write_error(self.path, error) from error

    def folder(self, settings: Settings) -> Path:
        """The folder of a resolved run."""
        run, pruning = settings.run, settings.pruning
        parts = (run.experiment, run.architecture, run.data, pruning.pruner, pruning.pruning_type)
        name = f"{run.sample}_{1 / settings.target.density:.6g}_{settings.key()}"
        return self.path.joinpath(*(folder_name(str(part)) for part in parts), name)

    def status(self, settings: Settings) -> str:
        """`complete`, `failed` or, if there is nothing or something unreadable, `missing`."""
        return self.state(settings).status

    def state(self, settings: Settings) -> StoredState:
        """What there is of a run."""
        path = self.folder(settings) / "run.json"
        # Marks come first: what is written meanwhile is to look new afterwards.
        marks = None
        try:
            found = path.stat()
            marks = found.st_ino, found.st_mtime_ns
            record = json.loads(path.read_bytes())
            has_row = path.with_name("summary.csv").stat().st_size > 0
            if has_row and record["status"] in ("complete", "failed"):
                return StoredState(record["status"], str(record.get("error", "")), marks)
        except (OSError, ValueError, KeyError, TypeError):
            pass
        return StoredState("missing", "", marks)

    def has_weights(self, settings: Settings) -> bool:
        """Whether a run's weights are there, whole."""
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(self.folder(settings) / "weights.safetensors", "pt"):
                return True
        except (OSError, SafetensorError):
            return False

    def read_checkpoints(self, settings: Settings) -> dict[str, bytes]:
        """What an interrupted run left to go on from, by the names of its files."""
        try:
            return {path.name: path.read_bytes() for path in self.folder(settings).glob(_CHECKPOINTS)}
        except OSError:
            return {}

    def delete_checkpoints(self, settings: Settings) -> None:
        """Leave nothing that a run could go on from; raises `UserError` if it cannot be removed."""
        try:
            for path in self.folder(settings).glob(_CHECKPOINTS):
                path.unlink(missing_ok=True)
        except OSError as error:
            raise write_error(self.folder(settings), error) from error

    def write_checkpoint(self, settings: Settings, name: str, content: bytes) -> None:
        """Keep what a run can go on from; raises `UserError` if it cannot be written."""
        replace_file(self.folder(settings) / name, content)

    def read_weights(self, settings: Settings) -> dict[str, Tensor] | None:
        """The trained weights of a complete run, if they were kept."""
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        if self.status(settings) != "complete":
            return None
        try:
            return load_file(self.folder(settings) / "weights.safetensors")
        except (OSError, SafetensorError):
            return None

    def write(
        self,
        settings: Settings,
        defaults: Settings,
        outcome: Outcome,
        seconds: float,
        keeps_checkpoints: bool = False,
    ) -> pd.DataFrame:
        """Keep a run; returns its row of `summary.csv`. `defaults` is what would run without any flag.

        Its checkpoints go, unless it is to go on from them. Only one process at a time may write a run.
        """
        row = summary_row(settings, defaults, outcome)
        folder = self.folder(settings)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            # A run that is made again is unfinished until its new run.json is there, and keeps nothing of the old one.
            tables = {"layers": outcome.layers, "training": outcome.training, **outcome.tables, "summary": row}
            (folder / "run.json").unlink(missing_ok=True)
            for old in (*folder.glob("*.csv"), *folder.glob("*.safetensors"), *folder.glob(f".*{TEMPORARY}")):
                if old.stem not in tables:
                    old.unlink()
            for name, table in tables.items():
                write_file(folder / f"{name}.csv", table.to_csv(index=False).encode())
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


def summary_row(settings: Settings, defaults: Settings, outcome: Outcome) -> pd.DataFrame:
    """The one row of `summary.csv`: the fixed columns, then the experiment's own."""
    run, pruning = settings.run, settings.pruning
    own, usual = settings.identity(), defaults.identity()
    row = dict.fromkeys(SUMMARY_COLUMNS)
    row |= {
        "run": settings.key(),
        "status": "failed" if outcome.error else "complete",
        "error": outcome.error,
        "settings": as_flags({name: value for name, value in own.items() if usual.get(name) != value}),
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
