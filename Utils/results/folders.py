"""Run folders: their names, and the folders of a run by its name."""

from __future__ import annotations

from pathlib import Path


def folder_name(text: str) -> str:
    """A folder name without slashes for a name in the settings; a user-defined network is named FILE-FACTORY."""
    source, colon, factory = text.rpartition(":")
    return f"{Path(source).stem}-{factory}" if colon else text.replace("/", "-")


def find_run(path: str | Path, name: str) -> list[Path]:
    """The folders of runs with this run key (the ten hexadecimal digits at the end of a folder name) or folder name."""
    if not name or "/" in name or any(letter in name for letter in "*?["):
        return []
    records = [*Path(path).glob(f"*/*/*/*/*/*_{name}/run.json"), *Path(path).glob(f"*/*/*/*/*/{name}/run.json")]
    return sorted(record.parent for record in records)
