"""What does Ctrl-C mean? Once: finish what is running. Twice: stop now."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass
class Interrupt:
    """Whether the user wants an end."""

    is_requested: bool = False


@contextmanager
def handle_interrupts() -> Iterator[Interrupt]:
    """Inside, the first Ctrl-C is only remembered, and answered with a word; the second raises `KeyboardInterrupt`."""
    wish = Interrupt()

    def handle(number: int, frame: object) -> None:
        if wish.is_requested:
            raise KeyboardInterrupt
        wish.is_requested = True
        # Past Python's own buffers, in whose midst the signal may have come.
        os.write(2, b"\ninterrupted: what is running now is finished and kept; Ctrl-C again stops at once\n")

    # Someone else's handler stays: a test's, or that of a program which calls this one.
    if threading.current_thread() is not threading.main_thread() or (
        signal.getsignal(signal.SIGINT) is not signal.default_int_handler
    ):
        yield wish
        return
    signal.signal(signal.SIGINT, handle)
    try:
        yield wish
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
