"""Run locks: one lock per run, so that no two processes execute the same run.

A lock is a lock of the operating system on a file in the results folder. The system releases it when its process ends,
for whatever reason, and no clock is involved: the run of a process that died is free at once.
"""

import os
import socket
from contextlib import suppress
from pathlib import Path

from filelock import FileLock, Timeout

from Utils.errors import UserError


class RunLocks:
    """The locks on the runs of a results folder, by run key."""

    def __init__(self, results: Path) -> None:
        self.folder = results / ".locks"
        self.held: dict[str, FileLock] = {}

    def acquire(self, name: str) -> bool:
        """Lock a run; False if another process holds it. Raises `UserError` where files cannot be locked."""
        lock = self._lock(name)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            lock.acquire(timeout=0)
        except Timeout:
            return False
        except OSError as error:
            message = f"files in {self.folder} cannot be locked ({error}); give another folder as --out_path"
            raise UserError(message) from error
        self.held[name] = lock
        with suppress(OSError):  # the owner file is only informative
            self._owner(name).write_text(f"process {os.getpid()} on {socket.gethostname()}")
        return True

    def release(self, name: str) -> None:
        """Release the lock of a run."""
        with suppress(OSError):
            self._owner(name).unlink(missing_ok=True)
        self.held.pop(name).release()

    def release_all(self) -> None:
        """Release all locks."""
        for name in list(self.held):
            self.release(name)

    def owner(self, name: str) -> str | None:
        """The process that holds the lock of a run; None if it is free."""
        lock = self._lock(name)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            try:
                return self._owner(name).read_text()
            except OSError:
                return "another process"
        except OSError:
            return None
        lock.release()
        return None

    def owners(self) -> dict[str, str]:
        """The holders of all locks, by run key."""
        names = [path.stem for path in self.folder.glob("*.owner")]
        owners = {name: self.owner(name) for name in names}
        return {name: owner for name, owner in owners.items() if owner is not None}

    def _lock(self, name: str) -> FileLock:
        # A soft lock outlives its process and would block all others.
        return FileLock(self.folder / f"{name}.lock", thread_local=False, fallback_to_soft=False)

    def _owner(self, name: str) -> Path:
        return self.folder / f"{name}.owner"
