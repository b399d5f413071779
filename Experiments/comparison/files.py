"""Files of weights from elsewhere that are compared, with their groups. Loads no PyTorch but to read contents."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from Utils.errors import UserError
from Utils.files import is_file


@dataclass(frozen=True)
class NamedFile:
    """A file of weights."""

    path: Path
    group: str
    sample: int
    """Its number among the files of its group."""


def named_files(words: Sequence[str]) -> list[NamedFile]:
    """The files of words `FILE` or `GROUP=FILE`; a file without a group is one of its own.

    Raises `UserError` for a word that names no file.
    """
    files, counts = [], Counter[str]()
    for word in words:
        group, equals, name = word.partition("=")
        if not equals or is_file(Path(word)):
            group, name = Path(word).stem, word
        path = Path(name)
        if not name or (equals and not group):
            raise UserError(f"--files: {word} lacks {'a file behind' if group else 'a group before'} the =")
        if not is_file(path):
            what = "is a folder" if path.is_dir() else "is no file"
            raise UserError(f"--files: {path} {what}; give FILE or GROUP=FILE, a state dict of the network")
        files.append(NamedFile(path, group, counts[group]))
        counts[group] += 1
    return files


def files_key(files: Sequence[NamedFile]) -> str:
    """A hash of the groups and contents of files, in their order."""
    from Utils.results.state_dicts import content_key

    lines = "\n".join(f"{file.group} {content_key(file.path)}" for file in files)
    return hashlib.sha256(lines.encode()).hexdigest()[:10]
