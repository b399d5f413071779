"""Guard around a user's code: whatever it does, even an exit of the process, can be reported as a failure."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

from Utils.errors import UserError, describe_error


class Stopped(KeyboardInterrupt):
    """Ctrl-C of the user, as against a `KeyboardInterrupt` that code raises."""


def stop(number: int, frame: FrameType | None) -> NoReturn:
    """A handler of Ctrl-C."""
    raise Stopped


@contextmanager
def stopped_by_ctrl_c() -> Iterator[None]:
    """In the context, Ctrl-C raises `Stopped`; a handler of a calling program stays in place."""
    is_default = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if threading.current_thread() is not threading.main_thread() or not is_default:
        yield
        return
    signal.signal(signal.SIGINT, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def is_ctrl_c(error: BaseException) -> bool:
    """Whether an exception is the user's Ctrl-C; with Python's own handler, every `KeyboardInterrupt` counts as one."""
    is_default = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    return isinstance(error, Stopped) or (isinstance(error, KeyboardInterrupt) and is_default)


@contextmanager
def user_code(failure: str, passed: type[Exception] | tuple[()] = UserError) -> Iterator[None]:
    """Turn whatever a user's code raises into a `UserError` that begins with `failure`; `passed` errors are ours."""
    try:
        with no_exit():
            yield
    except BaseException as error:
        if isinstance(error, passed) or is_ctrl_c(error):
            raise
        raise UserError(f"{failure}: {describe_error(error)}") from error


@contextmanager
def no_exit() -> Iterator[None]:
    """In the context, `os._exit` raises `SystemExit` in this thread, instead of ending the process without a word.

    Other threads, and processes forked in the context, end as ever.
    """
    leave, owner = os._exit, (os.getpid(), threading.get_ident())

    def refuse(status: int) -> NoReturn:
        if (os.getpid(), threading.get_ident()) != owner:
            leave(status)
        raise SystemExit(f"os._exit({status})")

    os._exit = refuse
    try:
        yield
    finally:
        os._exit = leave
