"""Which flags does a file give?"""

from pathlib import Path
from typing import Any

import yaml

from Utils.errors import UserError


class _Loader(yaml.BaseLoader):
    """Keeps all values as they are written, for 0.990 is no other sparsity than the one typed; refuses repeated names.

    PyYAML's way, that the last one counts, would drop half of a campaign in silence.
    """

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        """A mapping of names as they are written."""
        seen = set()
        for key, _ in node.value:
            name = str(key.value).replace("-", "_")
            if name in seen:
                raise yaml.constructor.ConstructorError(
                    problem=f"{key.value} is there twice", problem_mark=key.start_mark, note="one list may hold it all"
                )
            seen.add(name)
        return super().construct_mapping(node, deep)


def read_flags(path: str) -> list[str]:
    """The flags of a YAML file as one would type them: a mapping of names to values or lists of values.

    Numbers keep the digits that were written. Raises `UserError` for a file that is none.
    """
    try:
        content: Any = yaml.load(Path(path).read_text(), _Loader)
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
