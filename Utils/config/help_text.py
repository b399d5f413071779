"""Help text of a command: every flag with its meaning, valid values and default, in one section per group."""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import Field
from decimal import Decimal
from typing import Any

from Utils.config.choices import ValidNames
from Utils.config.fields import flag_fields
from Utils.config.flag_text import value_text

_KINDS = {bool: "0|1", int: "N", float: "X", Decimal: "X"}


def help_text(groups: Sequence[type], names: Mapping[str, ValidNames], program: str, description: str) -> str:
    """The text of `--help`; `names` holds the valid names of each registry that fields name as their choices."""
    fields = [item for group in groups for item in flag_fields(group)]
    has_runs = any(item.metadata["many"] for item in fields)
    parser = argparse.ArgumentParser(
        program, f"{program} [--flag VALUE ...] ...", " ".join([description, *_rules(fields, has_runs)]),
        formatter_class=lambda prog: argparse.HelpFormatter(prog, max_help_position=30, width=110),
        conflict_handler="resolve",  # experiments may share an option
    )  # fmt: skip
    for group in groups:
        title = group.__name__.removesuffix("Options").lower()
        section = parser.add_argument_group(title, (group.__doc__ or "").strip())
        for item in flag_fields(group):
            text = _meaning(item, names, has_runs).replace("%", "%%")
            section.add_argument(f"--{item.name}", metavar=_placeholder(item.metadata), help=text)
    return parser.format_help()


def _rules(fields: Sequence[Field], has_runs: bool) -> list[str]:
    """How flags are written, as far as the flags of this command need it."""
    rules = []
    if has_runs:
        rules.append(
            "Several values of a flag make several runs, one for each combination of values: --lr 0.1 0.01, or "
            "--lr=0.1,0.01. Flags that take one value or one list for all runs say so."
        )
    if any(item.metadata["kind"] is bool for item in fields):
        rules.append("A switch is written --flag, --flag=0, --flag=1 or --no-flag.")
    return rules


def _meaning(item: Field, names: Mapping[str, ValidNames], has_runs: bool) -> str:
    """What a flag does, its valid values, its default, and whether its values are a list."""
    metadata = item.metadata
    notes = [] if item.default is None else [f"default: {value_text(item.default)}"]
    if metadata["sequence"]:
        notes.append("one list")
    elif has_runs and not metadata["many"]:
        notes.append("one value")
    return metadata["help"] + _list_choices(metadata["choices"], names) + (f" ({'; '.join(notes)})" if notes else "")


def _placeholder(metadata: Mapping[str, Any]) -> str:
    """What stands for the values in the text, with dots if there may be several."""
    kind = "NAME" if metadata["choices"] is not None else _KINDS.get(metadata["kind"], "FOLDER")
    return (metadata["placeholder"] or kind) + (" ..." if metadata["many"] or metadata["sequence"] else "")


def _list_choices(choices: Any, names: Mapping[str, ValidNames]) -> str:
    if choices is None:
        return ""
    valid = (names[choices].shown or names[choices].valid) if isinstance(choices, str) else choices
    return f": {', '.join(valid)}"
