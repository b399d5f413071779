"""Other users of a folder: code that is executed by a user of a number, and a folder that all can reach."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from conftest import ROOT

IS_ROOT = hasattr(os, "geteuid") and os.geteuid() == 0
needs_root = pytest.mark.skipif(not IS_ROOT, reason="only root can become other users")


@contextmanager
def public_folder() -> Iterator[Path]:
    """An empty folder that every user may read; those of pytest are private."""
    with tempfile.TemporaryDirectory() as name:
        os.chmod(name, 0o755)
        yield Path(name)


def start_as(user: int, groups: list[int], before: str, code: str, *words: object) -> subprocess.Popen:
    """Execute `before`, become a user (with root's rights only), and execute `code` with the words as `sys.argv`.

    What is imported late must be so in `before`: another user may not be able to read Python's own files.
    """
    change = (
        f"import os, sys\nif os.geteuid() == 0: os.setgroups({groups}); os.setgid({groups[0]}); os.setuid({user})\n"
    )
    command = [sys.executable, "-W", "ignore", "-c", f"{before}\n{change}os.umask(0o022)\n{code}", *map(str, words)]
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT}/tests", "OMP_NUM_THREADS": "1"}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    return subprocess.Popen(command, cwd=ROOT, env=environment, **pipes)
