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
        if not is_file(path):
            raise UserError(f"--files: there is no file {name}; give FILE or GROUP=FILE, a state dict of the network")
        if not group:
            raise UserError(f"--files: {word} has an empty group before the =; write GROUP={name} or {name}")
        files.append(NamedFile(path, group, counts[group]))
        counts[group] += 1
    return files


def files_key(files: Sequence[NamedFile]) -> str:
    """A hash of the groups and contents of files, in their order."""
    from Utils.results.state_dicts import content_key

    lines = "\n".join(f"{file.group} {content_key(file.path)}" for file in files)
    return hashlib.sha256(lines.encode()).hexdigest()[:10]
