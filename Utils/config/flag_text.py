"""Settings as the flags that a user would type."""

from typing import Any

from Utils.config.fields import plain


def as_flags(values: dict[str, Any]) -> str:
    """Settings as flags on a command line."""

    def text(value: Any) -> str:
        if isinstance(value, bool):
            return str(int(value))
        return ",".join(map(str, value)) if isinstance(value, list) else str(value)

    return " ".join(f"--{name}={text(plain(value))}" for name, value in values.items())
