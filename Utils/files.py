"""Readers of files: whatever is wrong with a file, the error is one `UserError` that names it.

Every file that the program did not just write is read inside `reading`, or by a reader here. A caller that must know
why tells two errors apart: `UnreadableError`, where the content may be intact, and `DamagedError`, where it is not.
"""

import errno
import json
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from Utils.errors import UserError, one_line

_NOT_FILES = (
    (stat.S_ISDIR, "a folder"), (stat.S_ISFIFO, "a pipe"), (stat.S_ISSOCK, "a socket"), (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)  # fmt: skip
"""What a path may be instead of a file. Opening a pipe waits for a writer, and some devices have no end."""


class UnreadableError(UserError):
    """A file that cannot be opened: absent, forbidden, no regular file, or too large. Its content may be intact."""


class DamagedError(UserError):
    """A file that was read, and whose content is not what it should be."""


@contextmanager
def reading(path: str | Path, what: str, name: str | None = None) -> Iterator[None]:
    """Turn any failure to read a file into an error that names it; pipes, devices and folders are not even opened.

    `what` says what the content should be ("a YAML file"), `name` how errors call the file (default: its path).
    Raises `UnreadableError` or `DamagedError`. A `UserError` of the caller is passed on.
    """
    name = str(path) if name is None else name
    _check_is_file(path, name)
    try:
        yield
    except UserError:
        raise
    except MemoryError as error:
        raise UnreadableError(f"{name} is unreadable: it does not fit in memory") from error
    except Exception as error:
        # Decoders raise errors of every kind, for damaged content some even an OSError, as after a seek to nowhere.
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
            raise unreadable(name, error) from error
        raise DamagedError(f"{name} is damaged, or not {what} ({one_line(error)})") from error


def read_text(path: str | Path, what: str, name: str | None = None, most: int | None = None) -> str:
    """The text of a UTF-8 file of at most `most` bytes; raises the errors of `reading`."""
    with reading(path, what, name), open(path, "rb") as file:
        content = file.read(-1 if most is None else most + 1)
        if most is not None and len(content) > most:
            raise ValueError(f"more than {most} bytes")
        return content.decode("utf-8-sig")


def read_json(path: str | Path, what: str = "a JSON file", name: str | None = None) -> Any:
    """The content of a JSON file; raises the errors of `reading`, also for content nested too deeply."""
    with reading(path, what, name):
        return json.loads(Path(path).read_bytes())


def is_file(path: str | Path) -> bool:
    """Whether a path is a regular file; raises `UnreadableError` where a folder on the way may not be searched."""
    mode = _mode(path, str(path))
    return mode is not None and stat.S_ISREG(mode)


def is_folder(path: str | Path) -> bool:
    """Whether a path is a folder; raises `UnreadableError` where a folder on the way may not be searched."""
    mode = _mode(path, str(path))
    return mode is not None and stat.S_ISDIR(mode)


def unreadable(name: str | Path, error: OSError) -> UnreadableError:
    """The error for a file or folder that the system does not open."""
    return UnreadableError(f"{name} is unreadable: {(error.strerror or one_line(error)).lower()}")


def _check_is_file(path: str | Path, name: str) -> None:
    mode = _mode(path, name)
    if mode is None:
        raise UnreadableError(f"{name} is unreadable: there is no such file")
    for is_kind, kind in _NOT_FILES:
        if is_kind(mode):
            raise UnreadableError(f"{name} is {kind}, not a file")


def _mode(path: str | Path, name: str) -> int | None:
    """The mode of a file; None if there is none, also where the name could be none, as it is too long."""
    try:
        return os.stat(path).st_mode
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None
    except OSError as error:
        if error.errno in (errno.ENAMETOOLONG, errno.ELOOP):
            return None
        raise unreadable(name, error) from error
