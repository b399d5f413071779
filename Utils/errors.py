"""What does a mistake of the user look like?"""

import difflib
from collections.abc import Iterable


class UserError(ValueError):
    """A request that cannot be honoured: one line that says what was wrong, what was expected and what to do."""


def unknown(what: str, name: str, valid: Iterable[str], shown: Iterable[str] | None = None) -> UserError:
    """The error for a name that is not in a registry: it lists the valid ones (or what is shown) and the nearest."""
    names = sorted(valid)
    close = [full for full in names if full.rpartition("/")[2] == name]
    close = close or difflib.get_close_matches(name.lower(), names, n=1, cutoff=0.55)
    suggestion = f"; did you mean {close[0]!r}?" if close else ""
    return UserError(f"unknown {what} {name!r}{suggestion} (valid: {', '.join(shown or names)})")
