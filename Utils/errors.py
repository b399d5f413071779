"""Errors of the user: one line that says what was wrong, what was expected and what to do."""

import difflib
from collections.abc import Iterable


class UserError(ValueError):
    """A request that cannot be honoured; the message is one line that a command prints instead of a traceback."""


def unknown(what: str, name: str, valid: Iterable[str], shown: Iterable[str] | None = None) -> UserError:
    """The error for a name outside a registry; lists the valid names, or those `shown`, and suggests the nearest."""
    names = sorted(valid)
    matches = [full for full in names if full.rpartition("/")[2] == name]
    matches = matches or difflib.get_close_matches(name.lower(), names, n=1, cutoff=0.55)
    suggestion = f"; did you mean {matches[0]!r}?" if matches else ""
    return UserError(f"unknown {what} {name!r}{suggestion} (valid: {', '.join(shown or names)})")
