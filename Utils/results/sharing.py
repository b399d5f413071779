"""Shared folders: a new file or folder is open to those who may write to the folder that it lies in.

A folder that its group, or everyone, may write to is shared, as a repository with git's `core.sharedRepository`. In any
other folder the umask decides.
"""

import os
import stat
from contextlib import suppress
from pathlib import Path


def make_folder(path: Path) -> None:
    """Create a folder and its missing parents, shared if the folder is in which they lie; raises `OSError`."""
    if not path.is_dir():
        make_folder(path.parent)
        path.mkdir(exist_ok=True)
        share(path)


def share(path: Path) -> None:
    """Open a new file or folder to the group, or to everyone, as far as the folder that it lies in is open to them."""
    with suppress(OSError):  # a file of another user, a group that is not the user's, a system without permissions
        outer, own = os.stat(path.parent), os.stat(path)
        # In a folder with the sticky bit, as /tmp, users keep their files apart.
        is_public = bool(outer.st_mode & stat.S_IWOTH) and not outer.st_mode & stat.S_ISVTX
        if not (is_public or outer.st_mode & stat.S_IWGRP):
            return
        if not is_public and own.st_gid != outer.st_gid:
            os.chown(path, -1, outer.st_gid)
        mode = stat.S_IMODE(own.st_mode) | (0o666 if is_public else 0o660)
        if stat.S_ISDIR(own.st_mode):
            mode |= (0o111 if is_public else 0o110) | stat.S_ISGID
        if mode != stat.S_IMODE(own.st_mode):
            os.chmod(path, mode)
