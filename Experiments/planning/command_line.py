"""Command line of main.py: common flags and those of the chosen experiment, typed or from a file. Loads no PyTorch."""

import dataclasses
from collections.abc import Sequence

from Experiments.planning.choices import valid_names
from Experiments.registry import EXPERIMENTS
from Utils.config.command import Command
from Utils.config.parser import Request, parse, value_of
from Utils.config.settings import GROUPS, Settings
from Utils.errors import UserError

INSTEAD = {"target_sparsity": "com_exp", "com_exp": "target_sparsity", "iterations": "epochs", "epochs": "iterations"}
"""Flags that replace each other: a flag of a file is dropped if its counterpart is typed."""


def read(arguments: Sequence[str], description: str = "") -> Request:
    """Parse the words of a command line and those of its file; typed flags take precedence.

    Raises `UserError` for an invalid word, and for a flag of another experiment.
    """
    path = value_of("config", arguments)
    words: list[str] = []
    if path is not None:
        from Utils.config.yaml_file import read_flags

        words = read_flags(path)
    names = valid_names()
    chosen = value_of("experiment", arguments) or value_of("experiment", words) or Settings().run.experiment
    experiment = EXPERIMENTS.get(chosen)
    options = None if experiment is None else experiment.Options
    groups = [*GROUPS.values(), *([] if options is None else [options]), Command]
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
    return request.completed_by(defaults, INSTEAD)


def _options_of_others(chosen: str) -> dict[str, str]:
    """The reason why an option of another experiment is refused, by its name."""
    owners: dict[str, list[str]] = {}
    for name, experiment in EXPERIMENTS.items():
        for item in dataclasses.fields(experiment.Options) if experiment.Options and name != chosen else ():
            owners.setdefault(item.name, []).append(name)
    return {
        option: f"--{option} has no effect with --experiment={chosen}; it belongs to {' and '.join(names)}"
        for option, names in owners.items()
    }
