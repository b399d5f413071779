"""Run folders: their names, and the folders of a run by its name."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

from Utils.errors import UserError
from Utils.files import unreadable

_OTHERS = ("figures", "demo")
"""Folders of a results folder that hold no runs, or results of their own."""


def folder_name(text: str) -> str:
    """A folder name without slashes for a name in the settings; a user-defined network is named FILE-FACTORY."""
    source, colon, factory = text.rpartition(":")
    return f"{Path(source).stem}-{factory}" if colon else text.replace("/", "-")


def run_folders(results: str | Path, report: Callable[[UserError], object] = lambda error: None) -> Iterator[str]:
    """The folders with a `run.json` at any depth below a results folder, relative to it.

    Hidden folders, folders within runs, and the folders of figures and of the demo are not entered. Links are followed
    last, and no folder is entered twice. Folders that cannot be searched are reported and left out.
    """
    results = str(results)
    top = os.path.realpath(results)
    entered, links, waiting = [top], list[str](), [("", top)]
    while waiting or links:
        if not waiting:
            waiting += _followed(results, links.pop(), entered)
            continue
        name, real = waiting.pop()
        try:
            if name and _has_record(os.path.join(results, name)):
                yield name
                continue
            with os.scandir(os.path.join(results, name) if name else results) as entries:
                shown = [entry for entry in entries if entry.name[0] != "." and (name or entry.name not in _OTHERS)]
            links += [os.path.join(name, entry.name) for entry in shown if entry.is_symlink()]
            folders = [entry.name for entry in shown if not entry.is_symlink() and entry.is_dir()]
            inner = ((os.path.join(name, folder), os.path.join(real, folder)) for folder in folders)
            waiting += [(path, place) for path, place in inner if place not in entered]
        except (FileNotFoundError, NotADirectoryError):
            continue  # deleted meanwhile, or a link to a file
        except OSError as error:
            report(unreadable(error.filename, error))


def _followed(results: str | Path, link: str, entered: list[str]) -> list[tuple[str, str]]:
    """The name and the place of the folder that a link leads to; nothing for a circle, or if it is entered already."""
    target = os.path.realpath(os.path.join(results, link))
    if _is_below(entered[0], target) or any(_is_below(target, folder) for folder in entered):
        return []
    entered.append(target)
    return [(link, target)]


def _is_below(path: str, folder: str) -> bool:
    return f"{path}/".startswith(f"{folder.rstrip('/')}/")


def _has_record(folder: str) -> bool:
    """Whether a folder is that of a run; raises `OSError` if the folder cannot be searched."""
    try:
        os.stat(os.path.join(folder, "run.json"))
    except FileNotFoundError:
        return False
    return True


def find_run(path: str | Path, name: str) -> list[Path]:
    """The folders of runs with this run key (the ten hexadecimal digits at the end of a folder name) or folder name."""
    if not name or "/" in name:
        return []
    folders = (Path(path) / folder for folder in run_folders(path))
    return sorted(folder for folder in folders if name in (folder.name, folder.name.rpartition("_")[2]))
