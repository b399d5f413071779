"""Messages about image files: the first names and the reasons, on one line."""

import errno
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from Utils.errors import UserError, one_line

DENIED = os.strerror(errno.EACCES).lower()
"""Reason of a file that may not be read; its content may be intact."""

Failure = tuple[str, str]
"""An image file and the reason why it cannot be read."""

_SHOWN = 5


def first_names(names: Iterable[str]) -> str:
    """The first names, and the number of the others."""
    names = list(names)
    return ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")


def reason(error: Exception) -> str:
    """Why an image cannot be read, as a few words."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return "no image that Pillow can read" if type(error).__name__ == "UnidentifiedImageError" else one_line(error)


def unreadable_images(folder: Path, failures: Sequence[Failure], total: int | None = None) -> UserError:
    """The error for files below a folder, each with its reason, among `total` files if their number is known."""
    of = "" if total is None else f"{len(failures)} of {total} "
    files = first_names(f"{file} ({why})" for file, why in failures)
    advice = "allow reading them" if all(why == DENIED for _, why in failures) else "replace or delete them"
    return UserError(f"{of}images in {folder} cannot be read: {files}; {advice}")
