"""Names of run folders, and how to find one by the name of its run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    pass


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
