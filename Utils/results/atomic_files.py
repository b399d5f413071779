"""Atomic files: a file is written whole or not at all, with the permissions of the folder that it lies in."""

import contextlib
import errno
import os
import secrets
from pathlib import Path

from Utils.errors import UserError
from Utils.results.sharing import make_folder, share

TEMPORARY = ".partial"
"""Suffix of files being written; a remaining one was left by a process that died."""


def replace_file(path: Path, content: bytes) -> None:
    """Write a file whole or not at all; raises `UserError` if the folder cannot be written to."""
    try:
        make_folder(path.parent)
        write_file(path, content)
    except OSError as error:
        raise write_error(path.parent, error) from error


def write_file(path: Path, content: bytes) -> None:
    """Write a file whole or not at all; raises `OSError` if it cannot be written."""
    temporary = path.with_name(f".{path.name}-{secrets.token_hex(4)}{TEMPORARY}")
    handle = os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        share(temporary)
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


def write_error(path: Path, error: OSError) -> UserError:
    """The error to show the user when writing to a path fails, with advice for its cause."""
    is_full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    advice = "make room, and run the same command again" if is_full else "give another folder as --out_path"
    return UserError(f"cannot write to {path}: {error.strerror or error}; {advice}")
