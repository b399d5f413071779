"""Experiment: all that planning, running and drawing must know of a procedure, in one object. Loads no PyTorch.

An experiment is a subclass in a file of this package, and one line in `registry.py`. Nothing outside that file asks for
its name.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from Utils.config.groups import GROUPS, Run
from Utils.config.settings import Settings

if TYPE_CHECKING:
    from Utils.figures.registry import FigureKind
    from Utils.results.artifacts import Need


class Experiment:
    """What is done with one network, or, in a study, with the results of other runs."""

    name: str
    about: str
    """One line for `--list` and the documentation."""
    implementation: str
    """The function that executes a run, as "module:function"; it is imported only then.

    `run(settings: Settings, inputs: Mapping[str, Artifact], context: RunContext) -> Outcome` gets resolved settings and
    what `needs` names, and writes no file.
    """
    Options: type | None = None
    """Dataclass of the experiment's own flags."""
    revision: int = 0
    """Raised when its procedure changes, so that earlier results do not pass for those of the new one."""
    is_study: bool = False
    """Whether a run is not about one network: its folder is `Results/EXPERIMENT/KEY`."""
    figures: tuple[str, ...] | None = None
    """Registered kinds of figures; None: all that no experiment lists."""
    own_figures: Mapping[str, FigureKind] = MappingProxyType({})
    """Kinds of figures that are defined here, for this experiment alone."""
    has_own_figures: bool = False
    """Whether each run has figures of its own, instead of being a part of those of all runs."""
    printed_table: str | None = None
    """The table that the console shows of a finished run; None: the sizes of its network."""
    has_targets: bool = True
    """Whether networks are pruned to a direct or an effective target, which figures keep apart."""
    tests_each_epoch: bool = False
    """Whether networks are tested after each epoch, unless `--evaluate_every` says otherwise."""

    def located(self, settings: Settings, given: Collection[str] = ()) -> Settings:
        """The settings with an architecture and data that its flags imply, before those left out have defaults."""
        return settings

    def resolve(self, settings: Settings, given: Collection[str] = ()) -> Settings:
        """One spelling for equal runs; `given` are the typed flags. Raises `UserError` if they exclude each other."""
        return settings

    def fixed(self, settings: Settings) -> Mapping[str, Any]:
        """Values that the experiment sets, whatever the flags say; `ignored` gives the reason for each such flag."""
        return {}

    def check(self, settings: Settings) -> None:
        """Raise `UserError` for a resolved run that cannot be executed."""

    def ignored(self, settings: Settings, lr_schedule: str) -> dict[str, str]:
        """The reason for each flag without effect; `lr_schedule` is the learning-rate schedule of flags or recipe."""
        return {}

    def needs(self, settings: Settings) -> tuple[Need, ...]:
        """Other runs that must be finished first, and what a run reads of them."""
        return ()

    def has_cyclic_rates(self, settings: Settings) -> bool:
        """Whether learning rates rise and fall in cycles, whatever `--lr_schedule` says."""
        return False

    def trainings(self, settings: Settings) -> int:
        """The number of trainings of a run, each as long as the recipe."""
        return 1

    def default_settings(self) -> Settings:
        """The settings of a run without flags, its options among them."""
        options = None if self.Options is None else self.Options()
        return Settings(Run(experiment=self.name), options=options, is_study=self.is_study)


def check_options(experiment: Experiment) -> Experiment:
    """The experiment; raises `ValueError` if an option has the name of a flag of all experiments.

    Such an option would replace the flag in the identity of a run, so that different runs would have one key.
    """
    names = {item.name for item in dataclasses.fields(experiment.Options)} if experiment.Options else set()
    taken = names & {item.name for group in GROUPS.values() for item in dataclasses.fields(group)}
    if taken:
        raise ValueError(f"experiment {experiment.name}: the option {min(taken)} is a flag of all experiments")
    return experiment


def same_run(settings: Settings, experiment: Experiment) -> Settings:
    """A run of another experiment with the same settings and its default options; planning resolves it."""
    unset = experiment.default_settings()
    run = replace(settings.run, experiment=experiment.name, inputs_key=None)
    return replace(settings, run=run, options=unset.options, is_study=unset.is_study)
