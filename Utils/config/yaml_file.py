"""YAML files of flags, read as the words of a command line."""

from typing import Any

import yaml

from Utils.errors import UserError, one_line
from Utils.files import read_text, reading

_MOST_BYTES = 1_000_000
"""Size of the largest file that is read: YAML takes seconds for each million letters."""


class _Loader(yaml.BaseLoader):
    """Loads every value as the text in the file, so that 0.990 is read as if typed, and refuses repeated names.

    PyYAML itself keeps the last of repeated names, which would silently drop half of a campaign.
    """

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        """A mapping with its names as written; raises `ConstructorError` if two differ at most in dashes."""
        seen = set()
        for key, _ in node.value:
            name = str(key.value).replace("-", "_")
            if name in seen:
                raise yaml.constructor.ConstructorError(
                    problem=f"{key.value} is given twice", problem_mark=key.start_mark, note="put all values in a list"
                )
            seen.add(name)
        return super().construct_mapping(node, deep)


def read_flags(path: str) -> list[str]:
    """The flags of a YAML file in the form typed on a command line, `--name=value` or `--name=value,value`.

    The file maps names to values or lists of values. Numbers keep their digits. An empty file has no flags;
    any other content raises `UserError`.
    """
    name, what = f"--config={path}", "a YAML file of flags"
    text = read_text(path, what, name, most=_MOST_BYTES)
    with reading(path, what, name):
        try:
            content: Any = yaml.load(text, _Loader)
        except yaml.YAMLError as error:
            raise UserError(f"{name} is not valid YAML: {one_line(error)}") from error
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
