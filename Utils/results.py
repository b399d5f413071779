"""What is kept of a run, and how is it found again? Only this file writes and reads `Results/`.

Each run has a folder with `run.json`, `summary.csv`, `layers.csv`, `training.csv`, `masks.safetensors` and
`weights.safetensors`. Every file is written whole or not at all, `run.json` last: a folder without it is unfinished.
"""

from __future__ import annotations

import contextlib
import json
import platform
import subprocess
import tempfile
import time
import warnings
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pandas as pd

from Utils import index
from Utils.errors import UserError
from Utils.files import TEMPORARY, replace_file, unwritable, write_file
from Utils.settings import Settings, as_flags, plain

if TYPE_CHECKING:
    from torch import Tensor

    from Layers import Masks

SUMMARY_COLUMNS = (
    "run", "status", "error", "settings", "experiment", "architecture", "data", "pruner", "pruning_type", "sample",
    "target_sparsity", "target_compression", "target_kept", "prunable", "kept_direct", "kept_effective",
    "direct_sparsity", "effective_sparsity", "direct_compression", "effective_compression", "graph_kept_effective",
    "graph_effective_sparsity", "min_layer_effective_density", "empty_layers", "dead_units", "collapsed", "macs",
    "direct_macs", "effective_macs", "top1", "top5", "best_top1", "test_loss", "train_loss", "iterations",
    "prune_seconds", "train_seconds",
)  # fmt: skip

LAYER_COLUMNS = (
    "layer", "shape", "size", "kept_direct", "kept_effective", "direct_sparsity", "effective_sparsity", "macs",
    "direct_macs", "effective_macs",
)  # fmt: skip

TRAINING_COLUMNS = (
    "iteration", "epoch", "lr", "train_loss", "train_top1", "val_loss", "val_top1", "test_loss", "top1", "top5",
    "seconds",
)  # fmt: skip

_TEXT_COLUMNS = ("run", "error", "settings")
"""Read as text even where they look like numbers, as the key 12e4567890 does."""

_CHECKPOINTS = "checkpoint-*.pt"

_NUMBER_COLUMNS = SUMMARY_COLUMNS[SUMMARY_COLUMNS.index("sample") :]

_PACKAGES = ("torch", "torchvision", "numpy", "pandas", "scikit-learn")


@dataclass
class Outcome:
    """What an experiment gives back; it writes nothing itself."""

    summary: dict[str, Any]
    """Values of `SUMMARY_COLUMNS` that are not settings, then columns of the experiment's own."""
    layers: pd.DataFrame
    training: pd.DataFrame
    masks: Masks | None = None
    weights: dict[str, Tensor] = field(default_factory=dict)
    machine: dict[str, Any] = field(default_factory=dict)
    """Device, threads and the like."""
    tables: dict[str, pd.DataFrame] = field(default_factory=dict)
    """Further tables, each kept as a CSV file of its name."""
    error: str = ""
    """Why the run failed, if it did."""
    trace: str = ""
    """Where in the program, if that was not foreseen."""

    @classmethod
    def failed(cls, error: str, trace: str = "") -> Outcome:
        """Nothing but a reason."""
        layers, training = pd.DataFrame(columns=list(LAYER_COLUMNS)), pd.DataFrame(columns=list(TRAINING_COLUMNS))
        return cls({}, layers, training, error=error, trace=trace)


class State(NamedTuple):
    """What there is of a run."""

    status: str
    """`complete`, `failed` or, if there is nothing or something unreadable, `missing`."""
    error: str
    marks: tuple[int, int] | None
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
            raise unwritable(self.path, error) from error

    def folder(self, settings: Settings) -> Path:
        """The folder of a resolved run."""
        run, pruning = settings.run, settings.pruning
        parts = (run.experiment, run.architecture, run.data, pruning.pruner, pruning.pruning_type)
        name = f"{run.sample}_{1 / settings.target.density:.6g}_{settings.key()}"
        return self.path.joinpath(*(folder_name(str(part)) for part in parts), name)

    def status(self, settings: Settings) -> str:
        """`complete`, `failed` or, if there is nothing or something unreadable, `missing`."""
        return self.state(settings).status

    def state(self, settings: Settings) -> State:
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
                return State(record["status"], str(record.get("error", "")), marks)
        except (OSError, ValueError, KeyError, TypeError):
            pass
        return State("missing", "", marks)

    def has_weights(self, settings: Settings) -> bool:
        """Whether a run's weights are there, whole."""
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(self.folder(settings) / "weights.safetensors", "pt"):
                return True
        except (OSError, SafetensorError):
            return False

    def checkpoints(self, settings: Settings) -> dict[str, bytes]:
        """What an interrupted run left to go on from, by the names of its files."""
        try:
            return {path.name: path.read_bytes() for path in self.folder(settings).glob(_CHECKPOINTS)}
        except OSError:
            return {}

    def forget_checkpoints(self, settings: Settings) -> None:
        """Leave nothing that a run could go on from; raises `UserError` if it cannot be removed."""
        try:
            for path in self.folder(settings).glob(_CHECKPOINTS):
                path.unlink(missing_ok=True)
        except OSError as error:
            raise unwritable(self.folder(settings), error) from error

    def keep_checkpoint(self, settings: Settings, name: str, content: bytes) -> None:
        """Keep what a run can go on from; raises `UserError` if it cannot be written."""
        replace_file(self.folder(settings) / name, content)

    def weights(self, settings: Settings) -> dict[str, Tensor] | None:
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
            write_file(folder / "run.json", json.dumps(_record(settings, outcome, seconds), indent=1).encode())
            for old in () if keeps_checkpoints else folder.glob(_CHECKPOINTS):
                old.unlink()
        except OSError as error:
            raise unwritable(folder, error) from error
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


def load_summaries(path: str | Path = "Results", status: str | None = "complete") -> pd.DataFrame:
    """Every network's row of `summary.csv` below a results folder, those of one status or, with None, all.

    Folders without `run.json` are unfinished and left out. A damaged one is left out with a warning that names it.
    """
    rows, damaged = read_summaries(path)
    for folder in damaged:
        warnings.warn(f"{folder} is damaged and left out", stacklevel=2)
    rows = rows.drop(columns="folder")
    return rows if status is None or rows.empty else rows[rows["status"] == status].reset_index(drop=True)


def read_summaries(path: str | Path) -> tuple[pd.DataFrame, list[Path]]:
    """Every row below a results folder, with a column for its folder, and the folders that cannot be read."""
    path = Path(path)
    entries, damaged = index.read(path, SUMMARY_COLUMNS, _NUMBER_COLUMNS)
    if not entries:
        return pd.DataFrame(columns=[*SUMMARY_COLUMNS, "folder"]), damaged
    rows = index.table(entries, _TEXT_COLUMNS)
    rows["folder"] = [str(path / folder) for folder in rows["folder"]]
    rows[list(_TEXT_COLUMNS)] = rows[list(_TEXT_COLUMNS)].fillna("")
    return rows, damaged


def read_table(folder: str | Path, name: str) -> pd.DataFrame | None:
    """A table of a run, such as `layers`; None if it has none or an empty one. Raises `UserError` if it is damaged."""
    path = Path(folder) / f"{name}.csv"
    if not path.is_file():
        return None
    try:
        table = pd.read_csv(path)
    except (OSError, ValueError) as error:
        raise UserError(f"{path} is damaged; delete its folder and run it again") from error
    return table if len(table) else None


def folder_name(text: str) -> str:
    """A name without slashes; a network of the user's own goes by its file and its factory."""
    source, colon, factory = text.rpartition(":")
    return f"{Path(source).stem}-{factory}" if colon else text.replace("/", "-")


def find_run(path: str | Path, name: str) -> list[Path]:
    """The folders of the runs whose name (the ten digits at the end of the folder's) or whole folder name is this."""
    if not name or "/" in name or any(letter in name for letter in "*?["):
        return []
    records = [*Path(path).glob(f"*/*/*/*/*/*_{name}/run.json"), *Path(path).glob(f"*/*/*/*/*/{name}/run.json")]
    return sorted(record.parent for record in records)


def _record(settings: Settings, outcome: Outcome, seconds: float) -> dict[str, Any]:
    return {
        "status": "failed" if outcome.error else "complete",
        "error": outcome.error,
        **({"trace": outcome.trace} if outcome.trace else {}),
        "run": settings.key(),
        "identity": settings.identity(),
        "settings": {name: plain(value) for name, value in settings.values().items()},
        "versions": {"python": platform.python_version(), **_versions()},
        "commit": _commit(),
        "machine": outcome.machine,
        "seconds": round(seconds, 3),
        "finished": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
    }


@lru_cache(maxsize=1)
def _versions() -> dict[str, str]:
    found = {}
    for package in _PACKAGES:
        with contextlib.suppress(ImportError):
            found[package] = version(package)
    return found


@lru_cache(maxsize=1)
def _commit() -> str | None:
    """The commit that the program was started from, if it is a git checkout."""
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty", "--abbrev=40"]
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip() or None
    return None
