"""Jobs and reports: what an executor needs to execute one run, and what it reports about it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from Utils.config.settings import Settings
from Utils.results.artifacts import Artifact
from Utils.results.outcome import Outcome
from Utils.training.context import Event

DEATHS_AT_START = 5
"""Give up after this many consecutive workers die before completing any work."""


@dataclass(frozen=True)
class Job:
    """One run and its inputs."""

    name: str
    """The key of the run."""
    settings: Settings
    implementation: str
    """The function that executes it, as "module:function"."""
    inputs: Mapping[str, Artifact] = field(default_factory=dict)
    """What it reads of other runs."""
    checkpoints: Mapping[str, bytes] = field(default_factory=dict)
    """Checkpoint files of an interrupted execution, by name."""
    checkpoint_every: int | None = 0
    bars_above: int = 0


Bundle = tuple[Job, ...]
"""Jobs that one worker executes together."""


@dataclass(frozen=True)
class Finished:
    """A run was executed to its end; its training may have diverged."""

    name: str
    outcome: Outcome
    seconds: float


@dataclass(frozen=True)
class Failed:
    """A run raised an error."""

    name: str
    reason: str
    """The error as one line: exceptions of a user's code are not always printed, compared or pickled."""
    trace: str = ""
    """The traceback; empty for a request that cannot be honoured."""


@dataclass(frozen=True)
class WorkerDied:
    """The worker of a run died."""

    name: str
    reason: str


@dataclass(frozen=True)
class Message:
    """An event of a run that is being executed."""

    name: str
    """The key of the run that the event is about, one of a bundle."""
    event: Event


Report = Finished | Failed | WorkerDied | Message


class Executor(Protocol):
    """Executes bundles of jobs; the reports of a bundle come together."""

    is_remote: bool
    """Whether jobs are executed in other processes, whose progress is reported rather than shown by them."""
    is_group: bool
    """Whether several processes execute each job together: an error or Ctrl-C in any of them ends the campaign."""

    def listen(self, listener: Callable[[Report], None]) -> None:
        """Pass messages of a job to a listener while it is executed in this process."""
        ...

    def free_slots(self) -> list[int]:
        """Numbers of the workers that can take a bundle now. A worker keeps its number and its memory."""
        ...

    def submit(self, bundle: Bundle, slot: int) -> None:
        """Give a bundle to the worker of a free slot."""
        ...

    def wait(self, seconds: float) -> list[Report]:
        """Reports of all workers, as soon as there are any; none if nothing happens within `seconds`."""
        ...

    def close(self) -> None:
        """End all workers, whatever they are doing."""
        ...
