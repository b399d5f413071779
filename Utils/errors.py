"""Errors of the user: one line that says what was wrong, what was expected and what to do."""

import difflib
from collections.abc import Iterable

_LONGEST = 300
"""Characters that are shown of the message of a foreign error."""


class UserError(ValueError):
    """A request that cannot be honoured; the message is one line that a command prints instead of a traceback."""


def describe_error(error: BaseException) -> str:
    """Any exception as one line: its type and message, or the message alone of an error of the user."""
    name, message = type(error).__name__, one_line(error)
    return message if isinstance(error, UserError) or message == name else f"{name}: {message}"


def one_line(error: BaseException) -> str:
    """The message of any exception as one line that can be printed and stored, or its type if it has no message.

    A foreign message is cut to a usual length. The exception may be of a user's class, so that its own code may fail.
    """
    try:
        words = str(error).split()
    except BaseException:
        return "(its message cannot be shown)"
    message = "".join(letter if letter.isprintable() else "?" for letter in " ".join(words)) or type(error).__name__
    is_short = isinstance(error, UserError) or len(message) <= _LONGEST
    return message if is_short else f"{message[:_LONGEST]}..."


def unknown(
    what: str, name: str, valid: Iterable[str], shown: Iterable[str] | None = None, listed_by: str | None = None
) -> UserError:
    """The error for a name outside a registry; suggests the nearest name and lists the valid ones, or those `shown`.

    Of several names with the same ending, the first is the nearest.
    With a suggestion, the command `listed_by` takes the place of a long list.
    """
    names = list(valid)
    matches = [full for full in names if full.rpartition("/")[2] == name]
    matches = matches or difflib.get_close_matches(name.lower(), names, n=1, cutoff=0.55)
    suggestion = f"; did you mean {matches[0]!r}?" if matches else ""
    rest = f"see {listed_by}" if matches and listed_by else f"valid: {', '.join(shown or sorted(names))}"
    return UserError(f"unknown {what} {name!r}{suggestion} ({rest})")
