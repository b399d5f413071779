"""Which flags does a file give?"""

from pathlib import Path
from typing import Any

import yaml

from Utils.errors import UserError


def words(path: str) -> list[str]:
    """The flags of a YAML file as one would type them: a mapping of names to values or lists of values.

    Numbers keep the digits that were written. Raises `UserError` for a file that is none.
    """
    try:
        # The loader that keeps all values as they are written: 0.990 is no other sparsity than the one typed.
        content: Any = yaml.load(Path(path).read_text(), yaml.BaseLoader)
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"--config={path} cannot be read: {getattr(error, 'strerror', None) or error}") from error
    except yaml.YAMLError as error:
        raise UserError(f"--config={path} is no YAML: {' '.join(str(error).split())}") from error
    if content in (None, ""):
        return []
    if not isinstance(content, dict):
        raise UserError(f"--config={path} must hold lines of the form 'flag: value', or 'flag: [value, value]'")
    return [_word(path, str(name), value) for name, value in content.items()]


def _word(path: str, name: str, value: Any) -> str:
    if isinstance(value, list) and not any(isinstance(item, list | dict) for item in value):
        value = ",".join(value)
    if not isinstance(value, str):
        raise UserError(f"--config={path}: {name} must be a value or a list of values")
    return f"--{name.removeprefix('--')}={value}"
