"""Command line of main.py: common flags and those of the chosen experiment, typed or from a file. Loads no PyTorch."""

import dataclasses
from collections.abc import Sequence

from Experiments.planning.choices import valid_names
from Experiments.registry import EXPERIMENTS
from Utils.config.command import Command
from Utils.config.groups import GROUPS
from Utils.config.parser import Request, parse, values_of
from Utils.config.settings import Settings
from Utils.errors import UserError

ALTERNATIVES = ({"target_sparsity", "target_density", "com_exp"}, {"iterations", "epochs"})
"""Flags that set one quantity: those of a file are dropped if another of them is typed."""


def read(arguments: Sequence[str], description: str = "") -> Request:
    """Parse the words of a command line and those of its file; typed flags take precedence.

    Raises `UserError` for an invalid word, and for a flag of another experiment.
    """
    paths = values_of("config", arguments)
    if len(paths) > 1:
        raise UserError(f"--config takes one value, not {len(paths)}: {', '.join(paths)}")
    path = paths[0] if paths else None
    words: list[str] = []
    if path is not None:
        from Utils.config.yaml_file import read_flags

        words = read_flags(path)
    names = valid_names()
    chosen = _experiments(arguments) or _experiments(words) or [Settings().run.experiment]
    options = [one.Options for name, one in EXPERIMENTS.items() if name in chosen and one.Options is not None]
    groups = [*GROUPS.values(), *options, Command]
    elsewhere = _options_of_others(chosen)

    def parse_words(words: Sequence[str]) -> Request:
        return parse(words, groups, names, "main.py", description, elsewhere)

    request = parse_words(arguments)
    if path is None:
        return request
    try:
        defaults = parse_words(words)
    except UserError as error:
        raise UserError(f"--config={path}: {error}") from error
    if defaults.is_given("config"):
        raise UserError(f"--config={path} cannot name another file")
    return request.completed_by(defaults, ALTERNATIVES)


def _experiments(words: Sequence[str]) -> list[str]:
    """The experiments that words name, valid or not."""
    return [name for text in values_of("experiment", words) for name in text.split(",")]


def _options_of_others(chosen: Sequence[str]) -> dict[str, str]:
    """The reason why an option of other experiments is refused, by its name."""
    owners: dict[str, list[str]] = {}
    for name, experiment in EXPERIMENTS.items():
        for item in dataclasses.fields(experiment.Options) if experiment.Options and name not in chosen else ():
            owners.setdefault(item.name, []).append(name)
    return {
        option: f"--{option} has no effect with --experiment={','.join(chosen)}; it belongs to {' and '.join(names)}"
        for option, names in owners.items()
    }
