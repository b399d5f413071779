"""Fields of settings dataclasses: default, help text, choices and check of each flag."""

import dataclasses
from collections.abc import Callable
from dataclasses import field
from decimal import Decimal
from typing import Any

Check = tuple[Callable[[Any], bool], str]
"""A predicate on valid values, and the words that complete "must be"."""


AT_LEAST_TWO: Check = (lambda value: value >= 2, "at least 2, for batch normalisation")


AT_LEAST_TWO_POINTS: Check = (lambda value: value >= 2, "at least 2, both ends")


AT_LEAST_ONE: Check = (lambda value: value >= 1, "at least 1")


ROUNDS: Check = (lambda value: 1 <= value <= 100_000, "between 1 and 100,000")


THREADS: Check = (lambda value: 1 <= value <= 1024, "between 1 and 1024")


POSITIVE: Check = (lambda value: value > 0, "greater than 0")


NOT_EMPTY: Check = (lambda values: len(values) > 0, "one name or more")


NOT_NEGATIVE: Check = (lambda value: value >= 0, "at least 0")


FRACTION: Check = (lambda value: 0 <= value < 1, "at least 0 and less than 1")


DENSITY: Check = (lambda value: 0 < value <= 1, "a fraction, greater than 0 and at most 1 (for 10 percent write 0.1)")


RUN_FRACTION: Check = (lambda value: 0 <= value <= 1, "a fraction of the run, from 0 to 1")


EXPONENT: Check = (lambda value: 0 <= value <= 300, "between 0 and 300")


RATE: Check = (lambda value: 0 < value <= 1, "greater than 0 and at most 1")


SIZE: Check = (lambda values: len(values) in (1, 2) and min(values) > 0, "one or two numbers greater than 0")


PER_CHANNEL: Check = (lambda values: len(values) in (1, 3), "one number, or one for each of three channels")


PER_CHANNEL_POSITIVE: Check = (
    lambda values: len(values) in (1, 3) and min(values) > 0,
    "one number greater than 0, or one for each of three channels",
)


SHARES: Check = (
    lambda values: values and all(value > 0 and (value <= 1 or value == value.to_integral_value()) for value in values),
    "fractions up to 1, or whole numbers",
)


PAIR: Check = (lambda values: len(values) == 2 and min(values) > 0, "two numbers greater than 0")


RISING: Check = (lambda values: all(a < b for a, b in zip((0, *values), values, strict=False)), "rising and at least 1")


def setting(
    default: Any,
    help: str,
    *,
    kind: type = str,
    choices: tuple[str, ...] | str | None = None,
    many: bool | None = None,
    sequence: bool = False,
    identity: bool = True,
    check: Check | None = None,
    aliases: dict[str, str] | None = None,
    flag: bool = True,
    placeholder: str | None = None,
) -> Any:
    """A field of a settings dataclass, with the metadata that the parser and the run key need.

    `choices` are the valid values, or the name of a registry that lists them. `identity`: the value changes the result,
    so it belongs to the run's identity. `sequence`: several values form one setting. `many`: several values request
    several runs, by default for every identity field that is no sequence. A flag that is typed again replaces its
    values; that of a sequence, or with `many=True`, adds to them. `aliases` map other spellings to valid values.
    `flag`: the field can be typed; otherwise it is derived from other fields. `placeholder` stands for the value in
    `--help`.
    """
    adds = sequence or bool(many)
    many = identity and not sequence if many is None else many
    metadata = {
        "help": help, "kind": kind, "choices": choices, "many": many, "sequence": sequence, "adds": adds,
        "identity": identity, "check": check, "aliases": aliases or {}, "flag": flag, "placeholder": placeholder,
    }  # fmt: skip
    return field(default=default, metadata=metadata)


def plain(value: Any) -> Any:
    """A JSON-compatible value; equal decimal numbers become equal strings."""
    if isinstance(value, Decimal):
        text = format(value, "f")
        return (text.rstrip("0").rstrip(".") or "0") if "." in text else text
    return [plain(item) for item in value] if isinstance(value, tuple) else value


def flag_fields(group: type) -> list[dataclasses.Field]:
    """The fields of a settings dataclass that can be typed as flags."""
    return [item for item in dataclasses.fields(group) if item.metadata["flag"]]
