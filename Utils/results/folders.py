"""Run folders: their names, and the folders of a run by its name."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

_OTHERS = ("figures", "demo")
"""Folders of a results folder that hold no runs, or results of their own."""


def folder_name(text: str) -> str:
    """A folder name without slashes for a name in the settings; a user-defined network is named FILE-FACTORY."""
    source, colon, factory = text.rpartition(":")
    return f"{Path(source).stem}-{factory}" if colon else text.replace("/", "-")


def run_folders(results: str | Path) -> Iterator[str]:
    """The folders with a `run.json` at any depth below a results folder, relative to it.

    Hidden folders, folders within runs, and the folders of figures and of the demo are not entered.
    """

    def below(path: str, name: str) -> Iterator[str]:
        with suppress(OSError), os.scandir(path) as entries:
            for entry in entries:
                if entry.name.startswith(".") or (not name and entry.name in _OTHERS) or not entry.is_dir():
                    continue
                inner = f"{name}/{entry.name}" if name else entry.name
                if os.path.exists(f"{entry.path}/run.json"):
                    yield inner
                else:
                    yield from below(entry.path, inner)

    return below(str(results), "")


def find_run(path: str | Path, name: str) -> list[Path]:
    """The folders of runs with this run key (the ten hexadecimal digits at the end of a folder name) or folder name."""
    if not name or "/" in name:
        return []
    folders = (Path(path) / folder for folder in run_folders(path))
    return sorted(folder for folder in folders if name in (folder.name, folder.name.rpartition("_")[2]))
