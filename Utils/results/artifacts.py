"""Artifacts: what a run reads of another run, and the need that asks for it."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import pandas as pd

from Utils.config.settings import Settings
from Utils.files import DamagedError, reading
from Utils.results.digests import read_file, read_record
from Utils.results.outcome import Outcome

if TYPE_CHECKING:
    from torch import Tensor

    from Layers import Masks

Kind = Literal["weights", "masks", "tables"]


@dataclass(frozen=True)
class Need:
    """Another run that must be finished before a run, and what the run reads of it."""

    name: str
    """The name of the artifact among the inputs of the run."""
    settings: Settings
    """The resolved settings of the other run."""
    kind: Kind = "weights"


@dataclass(frozen=True)
class Artifact:
    """What a run reads of another run: its weights, its masks, or its tables."""

    digest: str
    """A hash that tells contents apart."""
    weights: Mapping[str, Tensor] = field(default_factory=dict)
    masks: Masks | None = None
    tables: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    """Tables by name, `summary` and `layers` among them."""


def read_artifact(folder: Path, kind: Kind) -> Artifact:
    """Read an artifact of a stored run. Raises `UnreadableError` if a file cannot be opened, else `UserError`."""
    record = read_record(folder)
    if kind == "tables":
        names = sorted(record.files if record.files is not None else (path.name for path in folder.glob("*.csv")))
        contents = {name: read_file(folder, name, record) for name in names if name.endswith(".csv")}
        with reading(folder / "summary.csv", "a table"):
            tables = {Path(name).stem: pd.read_csv(io.BytesIO(content)) for name, content in contents.items()}
        return Artifact(sha256(b"\n".join(contents.values())).hexdigest(), tables=tables)
    from safetensors.torch import load

    from Layers import Masks

    path = folder / f"{kind}.safetensors"
    content = read_file(folder, path.name, record)
    digest = sha256(content).hexdigest()
    with reading(path, f"a file of {kind}"):
        weights, masks = (load(content), None) if kind == "weights" else ({}, Masks.load(path))
    if not (weights or masks):
        raise DamagedError(f"{path} is damaged: it holds no {kind}")
    return Artifact(digest, weights, masks)


def artifact_of(outcome: Outcome, need: Need) -> Artifact:
    """What a need asks for of a run that was not stored; its digest is the key of the run, which is executed once."""
    summary = pd.DataFrame([outcome.summary])
    tables = {"summary": summary, "layers": outcome.layers, "training": outcome.training, **outcome.tables}
    return Artifact(need.settings.key(), outcome.weights, outcome.masks, tables)
