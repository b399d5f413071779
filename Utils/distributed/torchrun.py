"""Processes of torchrun: whether this is one of them, and how it ends. Loads no PyTorch."""

import os
import sys
from typing import NoReturn


def is_process_of_torchrun() -> bool:
    """Whether torchrun started this process."""
    return "TORCHELASTIC_RUN_ID" in os.environ


def end_process(status: int) -> NoReturn:
    """End this process with an exit status; a process of torchrun ends at once, without Python's own shutdown.

    A thread of gloo can still hold a tensor then, and a thread that needs Python during its shutdown aborts the process
    (PyTorch's pull request 179291).
    """
    if not is_process_of_torchrun():
        sys.exit(status)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
