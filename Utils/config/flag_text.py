"""Settings as the flags that a user would type."""

from typing import Any

from Utils.config.fields import plain


def as_flags(values: dict[str, Any]) -> str:
    """Settings as flags on a command line."""
    return " ".join(f"--{name}={value_text(value)}" for name, value in values.items())


def value_text(value: Any) -> str:
    """A value as a user would type it."""
    value = plain(value)
    if isinstance(value, bool):
        return str(int(value))
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)
