"""Command-line parser: turns arguments into a `Request`, with flags generated from settings dataclasses.

Several values are written `--flag a b c`, `--flag=a b c` or `--flag=a,b,c`, and a switch `--flag`, `--flag=0`,
`--flag=1` or `--no-flag`. Dashes and underscores are interchangeable in the names of flags.
"""

import dataclasses
import difflib
import itertools
import math
import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any

from Utils.config import flag_aliases
from Utils.config.choices import ValidNames
from Utils.config.fields import flag_fields
from Utils.config.flag_text import value_text
from Utils.config.help_text import help_text
from Utils.errors import UserError, unknown

_TRUE, _FALSE = ("1", "true", "yes", "on"), ("0", "false", "no", "off")
_KINDS = {int: "a whole number", float: "a finite number", Decimal: "a finite number", bool: "0 or 1", str: "a name"}
_FLAG = re.compile("--|-[a-zA-Z]")
"""The beginning of a flag; other words with a dash are numbers."""

_MOST_COMMAS = 8
"""Commas of a path that are recognised."""

_MOST_RUNS = 100_000
"""Runs of one command: planning takes about half a minute for so many."""


@dataclass(frozen=True)
class Request:
    """The flags that were typed, with their values; a flag in `many` has a list of values, each for runs of its own."""

    values: dict[str, Any]
    many: frozenset[str]

    def product(self) -> list[dict[str, Any]]:
        """One dictionary of values for each combination of the `many` flags; raises `UserError` for too many."""
        axes = [name for name in self.values if name in self.many]
        count = math.prod(len(self.values[name]) for name in axes)
        if count > _MOST_RUNS:
            raise UserError(f"these values ask for {count:,} runs; give one command at most {_MOST_RUNS:,}")
        combinations = itertools.product(*(self.values[name] for name in axes))
        return [self.values | dict(zip(axes, combination, strict=True)) for combination in combinations]

    def is_given(self, name: str) -> bool:
        """Whether a flag was typed."""
        return name in self.values

    def completed_by(self, others: "Request", alternatives: Iterable[Set[str]]) -> "Request":
        """This request, completed by flags of another request that were not typed here.

        `alternatives` are sets of flags that set one quantity: a typed one excludes the others of its set.
        """
        typed = self.values.keys()
        excluded = set(typed).union(*(names for names in alternatives if typed & names))
        values = {name: value for name, value in others.values.items() if name not in excluded} | self.values
        return Request(values, (self.many | others.many) & values.keys())

    def split(self, group: type) -> tuple[Any, "Request"]:
        """The settings of one group, with defaults for flags that were not typed, and a request for the other flags."""
        names = {item.name for item in dataclasses.fields(group)}
        rest = {name: value for name, value in self.values.items() if name not in names}
        options = {name: self.values[name] for name in names & self.values.keys()}
        return group(**options), Request(rest, self.many - names)


@dataclass
class _Typed:
    """A flag as it was typed, and its values: the words behind it, the first perhaps after an equals sign."""

    flag: str
    values: list[str]
    has_equals: bool = False

    @property
    def name(self) -> str:
        return self.flag[2:].replace("-", "_")


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
    flags = list(_typed(arguments))
    if any(typed.flag in ("-h", "--help") for typed in flags):
        sys.stdout.write(help_text(groups, names, program, description))
        raise SystemExit(0)
    values: dict[str, Any] = {}
    for typed in flags:
        item, texts = _field_and_texts(typed, fields, elsewhere or {})
        earlier = values.get(item.name, ()) if item.metadata["adds"] else ()
        parsed = (*earlier, *(_parse_value(item, text, names) for text in texts))
        if item.metadata["many"]:
            values[item.name] = list(dict.fromkeys(parsed))
        else:
            values[item.name] = parsed if item.metadata["sequence"] else parsed[0]
    for name, value in values.items():
        if fields[name].metadata["sequence"]:
            _check(fields[name], value)
    return Request(values, frozenset(name for name in values if fields[name].metadata["many"]))


def values_of(name: str, arguments: Iterable[str]) -> list[str]:
    """The last values of a flag in words that are not parsed yet."""
    return next((typed.values for typed in reversed(list(_typed(arguments))) if typed.name == name), [])


def _typed(arguments: Iterable[str]) -> Iterator[_Typed]:
    """The flags of a command line in order; raises `UserError` for a first word that is no flag."""
    typed = None
    for word in arguments:
        if any("\ud800" <= letter <= "\udfff" for letter in word):
            raise UserError(f"{word!r} is not UTF-8")
        if _FLAG.match(word):
            if typed is not None:
                yield typed
            flag, equals, text = word.partition("=")
            typed = _Typed(flag, [text] if equals else [], bool(equals))
        elif typed is None:
            raise _no_flag(word)
        else:
            typed.values.append(word)
    if typed is not None:
        yield typed


def _field_and_texts(
    typed: _Typed, fields: Mapping[str, dataclasses.Field], elsewhere: Mapping[str, str]
) -> tuple[dataclasses.Field, list[str]]:
    """The field that a flag sets, by its name, as `--no-flag`, or by its name in an original program; and its values.

    Raises `UserError` for an unknown flag, and for too few or too many values.
    """
    name = typed.name
    switch = fields.get(name.removeprefix("no_"))
    if name in fields or flag_aliases.FLAGS.get(name) in fields:
        item = fields[name if name in fields else flag_aliases.FLAGS[name]]
        return item, _texts(item, typed)
    if name.startswith("no_") and switch is not None and switch.metadata["kind"] is bool:
        if typed.has_equals:
            text = typed.values[0]
            raise UserError(f"--no-{switch.name}: ignored explicit argument {text!r}; write --{switch.name}=0")
        if typed.values:
            raise _no_flag(typed.values[0])
        return switch, ["0"]
    if name in flag_aliases.SWITCHES and "device" in fields:
        flag, _, value = flag_aliases.SWITCHES[name].partition("=")
        if any(text.lower() not in _TRUE for text in typed.values):
            raise UserError(f"{typed.flag} is a switch for {flag}={value}; leave {typed.values[0]!r} out")
        return fields[flag[2:]], [value]
    raise _unknown_flag(typed.flag, fields, elsewhere)


def _texts(item: dataclasses.Field, typed: _Typed) -> list[str]:
    """The values of a flag; raises `UserError` if there are none, or several for a flag that takes one value."""
    metadata = item.metadata
    if metadata["kind"] is bool and not typed.values:
        return ["1"]
    is_list = metadata["many"] or metadata["sequence"]
    is_path = metadata["kind"] is str and metadata["choices"] is None
    texts = [part for text in typed.values for part in ([text] if is_path and not is_list else _parts(text))]
    # A list that is one setting may be empty (no drops of the learning rate); a list of runs may not.
    if not any(texts) and not metadata["sequence"]:
        raise UserError(f"--{item.name} needs a value")
    if len(texts) > 1 and not is_list:
        raise UserError(f"--{item.name} takes one value, not {len(texts)}: {', '.join(texts)}")
    return texts


def _parts(text: str) -> list[str]:
    """The values that commas separate in a word; a comma in the path of a file, or of FILE:FACTORY, is part of it."""
    parts, pieces = [], text.split(",")
    while pieces:
        counts = range(min(len(pieces), _MOST_COMMAS + 1), 1, -1)
        count = next((count for count in counts if _is_path(",".join(pieces[:count]))), 1)
        parts.append(",".join(pieces[:count]).strip())
        del pieces[:count]
    return [part for part in parts if part]


def _is_path(text: str) -> bool:
    path, _, factory = text.rpartition(":")
    return os.path.exists(text) or ("," in path and "," not in factory and os.path.exists(path))


def _parse_value(item: dataclasses.Field, text: str, names: Mapping[str, ValidNames]) -> Any:
    metadata = item.metadata
    text = metadata["aliases"].get(text, text)
    choices = metadata["choices"]
    if isinstance(choices, str):
        registry = names[choices]
        text = registry.canonical(text)
        if text not in registry.valid and not registry.is_further(text):
            raise unknown(registry.what, text, registry.valid, registry.shown, registry.listed_by)
        return text
    if choices is not None and text not in choices:
        raise unknown(f"value of --{item.name}", text, choices)
    value = _convert(item, text)
    if metadata["kind"] is int and abs(value) >= 2**63:
        raise UserError(f"--{item.name} must be below 2^63, not {text}")
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
            # What double precision cannot tell from 0 is 0: written out, 1e-99999999 would take 100 MB.
            return kind(text if float(text) else 0)
    except (ValueError, InvalidOperation):
        pass
    raise UserError(f"--{item.name} must be {_KINDS[kind]}, not {text!r}")


def _check(item: dataclasses.Field, value: Any) -> None:
    if item.metadata["check"] is not None:
        is_valid, requirement = item.metadata["check"]
        if not is_valid(value):
            raise UserError(f"--{item.name} must be {requirement}, not {value_text(value)}")


def _no_flag(word: str) -> UserError:
    return UserError(f"{word!r} belongs to no flag; see --help")


def _unknown_flag(flag: str, fields: Mapping[str, Any], elsewhere: Mapping[str, str]) -> UserError:
    name = flag[2:].replace("-", "_")
    bare = name.removeprefix("no_")
    for known in (bare, flag_aliases.FLAGS.get(bare, "")):
        if known in elsewhere:
            return UserError(elsewhere[known])
    if name in flag_aliases.GONE:
        return UserError(f"there is no flag {flag}: {flag_aliases.GONE[name]}")
    flags = [f"--{name}" for name in fields]
    completions = [name for name in flags if name.startswith(flag)]
    matches = completions or difflib.get_close_matches(flag, flags, n=1, cutoff=0.55)
    suggestion = f"; did you mean {matches[0]}?" if matches else ""
    return UserError(f"unknown flag {flag}{suggestion} (see --help)")
