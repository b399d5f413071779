"""Content of `run.json`: status, settings, versions, machine and time of a run."""

from __future__ import annotations

import contextlib
import platform
import subprocess
import time
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from Utils.config.fields import plain
from Utils.config.settings import Settings
from Utils.results.outcome import Outcome

_PACKAGES = ("torch", "torchvision", "numpy", "pandas", "scikit-learn")


def record(settings: Settings, outcome: Outcome, seconds: float) -> dict[str, Any]:
    """The content of `run.json` for a finished or failed run; `seconds` is its duration."""
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
        **({"attachments": sorted(outcome.attachments)} if outcome.attachments else {}),
        "seconds": round(seconds, 3),
        "finished": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
    }


@lru_cache(maxsize=1)
def _versions() -> dict[str, str]:
    versions = {}
    for package in _PACKAGES:
        with contextlib.suppress(ImportError):
            versions[package] = version(package)
    return versions


@lru_cache(maxsize=1)
def _commit() -> str | None:
    """The commit of the program, with the suffix `-dirty` if files were modified; None outside a git checkout."""
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty", "--abbrev=40"]
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip() or None
    return None
