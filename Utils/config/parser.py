"""Command-line parser: turns arguments into a `Request`, with flags generated from settings dataclasses.

A list may be written `--flag a b c`, `--flag=a b c` or `--flag=a,b,c`, and a switch `--flag`, `--flag=0`, `--flag=1` or
`--no-flag`. Dashes and underscores are interchangeable in the names of flags.
"""

import argparse
import dataclasses
import difflib
import itertools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any, NoReturn

from Utils.config import flag_aliases
from Utils.errors import UserError, unknown

_TRUE, _FALSE = ("1", "true", "yes", "on"), ("0", "false", "no", "off")
_KINDS = {int: "a whole number", float: "a finite number", Decimal: "a finite number", bool: "0 or 1", str: "a name"}


@dataclass(frozen=True)
class ValidNames:
    """The valid values of one registry, and the function that turns any spelling of a name into the canonical one."""

    what: str
    valid: Sequence[str]
    canonical: Callable[[str], str] = str
    shown: Sequence[str] | None = None
    """Values for `--help` and errors, where the list of all valid values is too long; None: all valid values."""
    is_further: Callable[[str], bool] = lambda text: False
    """Whether a value outside the registry may still be valid; the code that uses the value checks it."""


@dataclass(frozen=True)
class Request:
    """The flags that were typed, with their values; a flag in `many` has a list of values, each for runs of its own."""

    values: dict[str, Any]
    many: frozenset[str]

    def single(self) -> dict[str, Any]:
        """The values shared by all runs."""
        return {name: value for name, value in self.values.items() if name not in self.many}

    def product(self) -> list[dict[str, Any]]:
        """One dictionary of values for each combination of values of the `many` flags."""
        axes = [name for name in self.values if name in self.many]
        combinations = itertools.product(*(self.values[name] for name in axes))
        return [self.values | dict(zip(axes, combination, strict=True)) for combination in combinations]

    def is_given(self, name: str) -> bool:
        """Whether a flag was typed."""
        return name in self.values

    def completed_by(self, others: "Request", instead: Mapping[str, str]) -> "Request":
        """This request, completed by flags of another request that were not typed here.

        `instead` maps a flag to an alternative flag for the same quantity, which the flag excludes.
        """
        excluded = self.values.keys() | {instead[name] for name in self.values.keys() & instead.keys()}
        values = {name: value for name, value in others.values.items() if name not in excluded} | self.values
        return Request(values, (self.many | others.many) & values.keys())

    def split(self, group: type) -> tuple[Any, "Request"]:
        """The settings of one group, with defaults for flags that were not typed, and a request for the other flags."""
        names = {item.name for item in dataclasses.fields(group)}
        rest = {name: value for name, value in self.values.items() if name not in names}
        options = {name: self.values[name] for name in names & self.values.keys()}
        return group(**options), Request(rest, self.many - names)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UserError(message.removeprefix("argument "))


def parse(
    arguments: Iterable[str],
    groups: Sequence[type],
    names: Mapping[str, ValidNames],
    program: str,
    description: str,
    elsewhere: Mapping[str, str] | None = None,
) -> Request:
    """Parse a command line into values for the fields of settings dataclasses; `--help` prints and exits.

    `names` holds the valid names of each registry that fields name as their choices, `elsewhere` the reasons why known
    flags do not belong here. Raises `UserError` for an invalid argument.
    """
    fields = {item.name: item for group in groups for item in flag_fields(group)}
    parser = _Parser(prog=program, description=description, allow_abbrev=False, formatter_class=_Help)
    for group in groups:
        title = group.__name__.removesuffix("Options").lower()
        section = parser.add_argument_group(title, (group.__doc__ or "").strip())
        for item in flag_fields(group):
            _add_flag(section, item, names)
    words = _split_lists([_canonical_flag(word, fields) for word in arguments], fields)
    namespace, unknown_words = parser.parse_known_args(words)
    if unknown_words:
        raise _unknown_argument(unknown_words[0], fields, elsewhere or {})
    values = {}
    for name, texts in vars(namespace).items():
        item = fields[name]
        is_sequence = item.metadata["sequence"]
        is_list = is_sequence or item.metadata["many"]
        parsed = [_parse_value(item, text, names) for text in (texts if is_list else [texts])]
        values[name] = tuple(parsed) if is_sequence else list(dict.fromkeys(parsed)) if is_list else parsed[0]
        if is_sequence:
            _check(item, values[name])
    return Request(values, frozenset(name for name in values if fields[name].metadata["many"]))


def value_of(name: str, arguments: Iterable[str]) -> str | None:
    """The last value of a flag with one value among words that are not parsed yet; None if it is not there."""
    value, is_next = None, False
    for word in arguments:
        flag, equals, text = word.partition("=")
        if is_next and not word.startswith("--"):
            value = word
        is_next = flag.startswith("--") and flag[2:].replace("-", "_") == name
        if is_next and equals:
            value, is_next = text, False
    return value


def flag_fields(group: type) -> list[dataclasses.Field]:
    """The fields of a settings dataclass that can be typed as flags."""
    return [item for item in dataclasses.fields(group) if item.metadata["flag"]]


def _add_flag(section: Any, item: dataclasses.Field, names: Mapping[str, ValidNames]) -> None:
    metadata, flag = item.metadata, f"--{item.name}"
    default = "" if item.default is None else f" (default: {_text(item.default)})"
    text = f"{metadata['help']}{_list_choices(metadata['choices'], names)}{default}".replace("%", "%%")
    options: dict[str, Any] = {"dest": item.name, "default": argparse.SUPPRESS, "help": text}
    if metadata["kind"] is bool:
        section.add_argument(flag, nargs="?", const="1", metavar="0|1", **options)
        section.add_argument(f"--no-{item.name}", action="store_const", const="0", **options | {"help": "the opposite"})
    elif metadata["many"] or metadata["sequence"]:
        # A list that is one setting may be empty (no drops of the learning rate); a list of runs may not.
        count = "+" if metadata["many"] else "*"
        section.add_argument(flag, nargs=count, action="extend", metavar=_placeholder(metadata), **options)
    else:
        section.add_argument(flag, metavar=_placeholder(metadata), **options)


def _placeholder(metadata: Mapping[str, Any]) -> str:
    if metadata["placeholder"] is not None:
        return metadata["placeholder"]
    if metadata["choices"] is not None:
        return "NAME"
    return {int: "N", float: "X", Decimal: "X"}.get(metadata["kind"], "FOLDER")


def _list_choices(choices: Any, names: Mapping[str, ValidNames]) -> str:
    if choices is None:
        return ""
    valid = (names[choices].shown or names[choices].valid) if isinstance(choices, str) else choices
    return f": {', '.join(valid)}"


def _canonical_flag(word: str, fields: Mapping[str, dataclasses.Field]) -> str:
    """The parser's spelling of a flag with dashes or underscores, or of a flag of the original programs."""
    if not word.startswith("--"):
        return word
    flag, equals, value = word[2:].partition("=")
    name = flag.replace("-", "_")
    if name in fields:
        return f"--{name}{equals}{value}"
    if name.startswith("no_") and name[3:] in fields:
        if equals:
            raise UserError(f"--no-{name[3:]}: ignored explicit argument {value!r}; write --{name[3:]}=0")
        return f"--no-{name[3:]}"
    if name in flag_aliases.SWITCHES and "device" in fields:
        if value and value.lower() not in _TRUE:
            raise UserError(f"--{flag} is a switch for {flag_aliases.SWITCHES[name]}; leave {value!r} out")
        return flag_aliases.SWITCHES[name]
    if flag_aliases.FLAGS.get(name) in fields:
        return f"--{flag_aliases.FLAGS[name]}{equals}{value}"
    return word


def _split_lists(arguments: Iterable[str], fields: Mapping[str, dataclasses.Field]) -> list[str]:
    """Make each value of a list-valued flag a separate word, as argparse expects."""
    words: list[str] = []
    in_list = False
    for word in arguments:
        if word.startswith("--"):
            flag, equals, value = word.partition("=")
            item = fields.get(flag[2:])
            in_list = item is not None and (item.metadata["many"] or item.metadata["sequence"])
            if in_list:
                words.append(flag)
                if equals and not value and item is not None and item.metadata["many"]:
                    raise UserError(f"{flag} needs a value")
                words += _parts(value)
                continue
            words.append(word)
        else:
            words += _parts(word) if in_list else [word]
    return words


def _parts(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _parse_value(item: dataclasses.Field, text: str, names: Mapping[str, ValidNames]) -> Any:
    metadata = item.metadata
    text = metadata["aliases"].get(text, text)
    choices = metadata["choices"]
    if isinstance(choices, str):
        registry = names[choices]
        text = registry.canonical(text)
        if text not in registry.valid and not registry.is_further(text):
            raise unknown(registry.what, text, registry.valid, registry.shown)
        return text
    if choices is not None and text not in choices:
        raise unknown(f"value of --{item.name}", text, choices)
    value = _convert(item, text)
    if not metadata["sequence"]:
        _check(item, value)
    return value


def _convert(item: dataclasses.Field, text: str) -> Any:
    kind = item.metadata["kind"]
    try:
        if kind is str and text.strip():
            return text
        if kind is bool and text.lower() in _TRUE + _FALSE:
            return text.lower() in _TRUE
        if kind is int:
            return int(text)
        if kind in (float, Decimal) and math.isfinite(float(text)):
            return kind(text)
    except (ValueError, InvalidOperation):
        pass
    raise UserError(f"--{item.name} must be {_KINDS[kind]}, not {text!r}")


def _check(item: dataclasses.Field, value: Any) -> None:
    if item.metadata["check"] is not None:
        is_valid, requirement = item.metadata["check"]
        if not is_valid(value):
            raise UserError(f"--{item.name} must be {requirement}, not {_text(value)}")


def _unknown_argument(word: str, fields: Mapping[str, Any], elsewhere: Mapping[str, str]) -> UserError:
    if not word.startswith("-"):
        return UserError(f"{word!r} belongs to no flag; see --help")
    flag = word.partition("=")[0]
    name = flag[2:].replace("-", "_").removeprefix("no_")
    for known in (name, flag_aliases.FLAGS.get(name, "")):
        if known in elsewhere:
            return UserError(elsewhere[known])
    reason = flag_aliases.GONE.get(flag[2:].replace("-", "_"))
    if reason is not None:
        return UserError(f"there is no flag {flag}: {reason}")
    flags = [f"--{name}" for name in fields]
    completions = [name for name in flags if name.startswith(flag)]
    matches = completions or difflib.get_close_matches(flag, flags, n=1, cutoff=0.55)
    suggestion = f"; did you mean {matches[0]}?" if matches else ""
    return UserError(f"unknown flag {flag}{suggestion} (see --help)")


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return str(int(value))
    return ",".join(map(str, value)) if isinstance(value, tuple | list) else str(value)


class _Help(argparse.HelpFormatter):
    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=30, width=110)
