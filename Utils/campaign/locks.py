"""Run locks: one lock per run, so that no two processes execute the same run.

A lock is a lock of the operating system on a file in the results folder. The system releases it when its process ends,
for whatever reason, and no clock is involved: the run of a process that died is free at once. All who may write to the
results folder may lock its runs.
"""

import os
import socket
import time
from contextlib import suppress
from pathlib import Path

from filelock import FileLock, Timeout

from Utils.errors import UserError
from Utils.results.sharing import make_folder, share

_SECONDS_TO_SHARE = 0.1
"""Time that another process is given to open a new lock file to others."""


class RunLocks:
    """The locks on the runs of a results folder, by run key."""

    def __init__(self, results: Path) -> None:
        self.folder = results / ".locks"
        self.held: dict[str, FileLock] = {}

    def acquire(self, name: str) -> bool:
        """Lock a run; False if another process holds it. Raises `UserError` where files cannot be locked."""
        lock, owner = self._lock(name), self._owner(name)
        try:
            self._acquire(lock)
        except Timeout:
            return False
        except PermissionError as error:
            advice = f"let its owner open it to you (chmod -R g+rwX {self.folder.parent}), or give another --out_path"
            raise UserError(f"{lock.lock_file} cannot be locked: permission denied; {advice}") from error
        except OSError as error:
            message = f"files in {self.folder} cannot be locked ({error}); give another folder as --out_path"
            raise UserError(message) from error
        self.held[name] = lock
        with suppress(OSError):  # the owner file is only informative
            owner.unlink(missing_ok=True)  # that of another user cannot be written to, but can be replaced
            owner.write_text(f"process {os.getpid()} on {socket.gethostname()}")
        return True

    def _acquire(self, lock: FileLock) -> None:
        make_folder(self.folder)
        try:
            lock.acquire(timeout=0)
        except PermissionError:
            time.sleep(_SECONDS_TO_SHARE)  # another user may have created the file just now
            lock.acquire(timeout=0)
        share(Path(lock.lock_file))

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
