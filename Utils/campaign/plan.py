"""Plan: the resolved runs of a command, and all that their execution must know of each."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

from Utils.config.settings import Settings
from Utils.results.artifacts import Kind, Need


@dataclass(frozen=True)
class PlannedRun:
    """A run with every value decided."""

    settings: Settings
    implementation: str
    """The function that executes it, as "module:function"."""
    defaults: Settings
    """The run without flags on the same architecture and data; a row names only differences from it."""
    needs: tuple[Need, ...] = ()
    """What it reads of other runs."""

    @cached_property
    def key(self) -> str:
        """The run key."""
        return self.settings.key()

    @property
    def title(self) -> str:
        """A short description for messages."""
        return self.settings.title()


def _accept(runs: Sequence[PlannedRun]) -> None:
    pass


@dataclass(frozen=True)
class Plan:
    """The runs of a command."""

    runs: tuple[PlannedRun, ...]
    """The requested runs, in order."""
    inputs: tuple[PlannedRun, ...] = ()
    """The runs that others need, each after those that it needs itself; they may be requested, too."""
    group_of: Callable[[Settings], str] = Settings.key
    """Runs of one group are executed by one worker where possible, so that they share scores."""
    check: Callable[[Sequence[PlannedRun]], None] = _accept
    """Raises `UserError` if some of these runs cannot start; called once, with the unfinished runs."""

    @cached_property
    def by_key(self) -> dict[str, PlannedRun]:
        """All runs, by run key."""
        return {run.key: run for run in (*self.inputs, *self.runs)}

    @cached_property
    def needed(self) -> dict[str, frozenset[Kind]]:
        """What is read of each run that others need, by run key."""
        kinds: dict[str, set[Kind]] = defaultdict(set)
        for need in (need for run in self.by_key.values() for need in run.needs):
            kinds[need.settings.key()].add(need.kind)
        return {key: frozenset(names) for key, names in kinds.items()}

    def is_only_scored(self, run: PlannedRun) -> bool:
        """Whether others need nothing of a run but its weights, which they score."""
        return self.needed.get(run.key) == {"weights"}

    @cached_property
    def requested(self) -> frozenset[str]:
        """The keys of the requested runs."""
        return frozenset(run.key for run in self.runs)

    @property
    def common(self) -> Settings:
        """Settings whose flags with one value, as `--out_path` and `--workers`, are those of all runs."""
        return self.runs[0].settings

    @property
    def saves(self) -> bool:
        """Whether results are stored."""
        return self.common.run.save
