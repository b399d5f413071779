"""Interrupts: the first Ctrl-C lets running work finish, the second stops at once."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from Utils.user_code import Stopped, stop


@dataclass
class Interrupt:
    """Whether the user has asked for the end of the campaign."""

    is_requested: bool = False


@contextmanager
def handle_interrupts() -> Iterator[Interrupt]:
    """In the context, the first Ctrl-C sets a flag and prints a line; the second raises `Stopped`."""
    interrupt = Interrupt()

    def handle(number: int, frame: object) -> None:
        if interrupt.is_requested:
            raise Stopped
        interrupt.is_requested = True
        # Written past Python's buffers: the signal may have arrived while one of them was locked.
        os.write(2, b"\ninterrupted: what is running now is finished and kept; Ctrl-C again stops at once\n")

    before = signal.getsignal(signal.SIGINT)
    # A handler of a test or of a calling program stays in place.
    if threading.current_thread() is not threading.main_thread() or before not in (signal.default_int_handler, stop):
        yield interrupt
        return
    signal.signal(signal.SIGINT, handle)
    try:
        yield interrupt
    finally:
        signal.signal(signal.SIGINT, before)
