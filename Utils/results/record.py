"""Content of `run.json`: settings, versions, machine and status of a run."""

from __future__ import annotations

import contextlib
import platform
import subprocess
import time
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from Utils.config.settings import Settings, plain

if TYPE_CHECKING:
    pass
from Utils.results.outcome import Outcome

_PACKAGES = ("torch", "torchvision", "numpy", "pandas", "scikit-learn")


def record(settings: Settings, outcome: Outcome, seconds: float) -> dict[str, Any]:
    """What `run.json` says of a run."""
    return {
        "status": "failed" if outcome.error else "complete",
        "error": outcome.error,
        **({"trace": outcome.trace} if outcome.trace else {}),
        "run": settings.key(),
        "identity": settings.identity(),
        "settings": {name: plain(value) for name, value in settings.values().items()},
        "versions": {"python": platform.python_version(), **_versions()},
        "commit": _commit(),
        "machine": outcome.machine,
        "seconds": round(seconds, 3),
        "finished": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
    }


@lru_cache(maxsize=1)
def _versions() -> dict[str, str]:
    found = {}
    for package in _PACKAGES:
        with contextlib.suppress(ImportError):
            found[package] = version(package)
    return found


@lru_cache(maxsize=1)
def _commit() -> str | None:
    """The commit that the program was started from, if it is a git checkout."""
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty", "--abbrev=40"]
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip() or None
    return None
