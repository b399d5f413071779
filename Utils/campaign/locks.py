"""Which runs are being made now, by whichever process?

A claim is a lock of the operating system on a file in the results folder. It ends with the process that holds it,
however that ends, and no clock takes part; so a run whose process died is free at once.
"""

import os
import socket
from contextlib import suppress
from pathlib import Path

from filelock import FileLock, SoftFileLock, Timeout

from Utils.errors import UserError


class RunLocks:
    """The claims on the runs of a results folder, by their names."""

    def __init__(self, results: Path) -> None:
        self.folder = results / ".claims"
        self.held: dict[str, FileLock] = {}

    def acquire(self, name: str) -> bool:
        """Claim a run; False if another process has. Raises `UserError` where files cannot be locked."""
        lock = FileLock(self.folder / f"{name}.lock", thread_local=False)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            lock.acquire(timeout=0)
            if isinstance(lock, SoftFileLock):
                # Which stays when its process dies, and would stop all others.
                lock.release()
                raise NotImplementedError("the file system has no locks")
        except Timeout:
            return False
        except (OSError, NotImplementedError) as error:
            raise UserError(
                f"files in {self.folder} cannot be locked ({error}); give another folder as --out_path"
            ) from error
        self.held[name] = lock
        with suppress(OSError):  # it only says who it is
            self._owner(name).write_text(f"process {os.getpid()} on {socket.gethostname()}")
        return True

    def release(self, name: str) -> None:
        """Give a claim back."""
        with suppress(OSError):
            self._owner(name).unlink(missing_ok=True)
        self.held.pop(name).release()

    def release_all(self) -> None:
        """Give every claim back."""
        for name in list(self.held):
            self.release(name)

    def owner(self, name: str) -> str | None:
        """Who has claimed a run; None if nobody has."""
        lock = FileLock(self.folder / f"{name}.lock", thread_local=False)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            try:
                return self._owner(name).read_text()
            except OSError:
                return "another process"
        except (OSError, NotImplementedError):
            return None
        lock.release()
        return None

    def owners(self) -> dict[str, str]:
        """Who has claimed which run."""
        names = [path.stem for path in self.folder.glob("*.owner")]
        found = {name: self.owner(name) for name in names}
        return {name: owner for name, owner in found.items() if owner is not None}

    def _owner(self, name: str) -> Path:
        return self.folder / f"{name}.owner"
