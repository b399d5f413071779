"""How a process ends: at once under torchrun, with its output and its status."""

import subprocess
import sys

import pytest

PROGRAM = """
import atexit
from Utils.distributed.torchrun import end_process
atexit.register(print, "shutdown of Python")
print("output")
end_process(3)
"""


@pytest.mark.parametrize(
    ("started_by_torchrun", "printed"), [(True, "output\n"), (False, "output\nshutdown of Python\n")]
)
def test_end_of_a_process(started_by_torchrun, printed, monkeypatch):
    """Threads of gloo abort a process that shuts Python down."""
    if started_by_torchrun:
        monkeypatch.setenv("TORCHELASTIC_RUN_ID", "none")
    else:
        monkeypatch.delenv("TORCHELASTIC_RUN_ID", raising=False)
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (3, printed), done.stderr
