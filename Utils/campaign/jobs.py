"""What does a process need to carry out one run, and what comes of it?"""

import time
import traceback
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, Protocol

from torch import Tensor

from Utils.config.settings import Settings
from Utils.errors import UserError
from Utils.results.outcome import Outcome
from Utils.training.context import Event, RunContext, WarningIssued, use_context

Listener = Callable[[Event], None]

DEATHS_AT_START = 5
"""Of workers that had done nothing, one after the other, after which there is no use in further ones."""


class ExperimentModule(Protocol):
    """What an experiment's file offers."""

    def trained_run(self, settings: Settings) -> Settings | None:
        """The run whose trained weights this run needs, if any."""
        ...

    def run(self, settings: Settings, trained: Mapping[str, Tensor] | None = None) -> Outcome:
        """Carry out one run."""
        ...


class RemoteError(Exception):
    """An error in another process, in words, since not every one can be sent."""


@dataclass(frozen=True)
class Job:
    """One run, with all that it begins with."""

    name: str
    """The run's."""
    settings: Settings
    trained_weights: Mapping[str, Tensor] | None = None
    """The weights that it scores, of another run."""
    checkpoints: Mapping[str, bytes] = field(default_factory=dict)
    """What it left when it was interrupted."""
    checkpoint_every: int | None = 0
    bars_above: int = 0


@dataclass(frozen=True)
class Finished:
    """A run that was carried out to its end, which may be that training diverged."""

    name: str
    outcome: Outcome
    seconds: float


@dataclass(frozen=True)
class Failed:
    """A run that could not be carried out."""

    name: str
    error: Exception
    trace: str = ""
    """Where it happened, unless it is the user's mistake."""


@dataclass(frozen=True)
class WorkerDied:
    """A run whose process died."""

    name: str
    reason: str


@dataclass(frozen=True)
class Message:
    """What a run said on its way."""

    name: str
    event: Event


Report = Finished | Failed | WorkerDied | Message


class Executor(Protocol):
    """Carries out jobs, somewhere."""

    def free_slots(self) -> list[int]:
        """Where further jobs can begin now; equal numbers mean the same process, which knows what it did before."""
        ...

    def submit(self, job: Job, place: int) -> None:
        """Begin a job."""
        ...

    def wait(self, seconds: float) -> list[Report]:
        """What happened, as soon as something has, or that nothing did for so long."""
        ...

    def close(self) -> None:
        """End, together with all that is still running."""
        ...


def execute(experiment: ExperimentModule, job: Job, listener: Listener, has_bar: bool) -> Finished | Failed:
    """Carry out a job in this process."""
    started = time.perf_counter()
    those = RunContext(listener, job.checkpoints, job.checkpoint_every, job.name, has_bar, job.bars_above)
    try:
        with use_context(those):
            outcome = experiment.run(job.settings, job.trained_weights)
    except Exception as error:
        trace = "" if isinstance(error, UserError) else traceback.format_exc()
        return Failed(job.name, error, trace)
    return Finished(job.name, outcome, time.perf_counter() - started)


def execute_remotely(module: str, job: Job, tell: Callable[[Message], None]) -> Finished | Failed:
    """Carry out a job in a process that has no user: what it would print it tells, errors it makes fit for sending."""

    def listener(event: Event) -> None:
        tell(Message(job.name, event))

    def warn(message: Any, *place: object) -> None:
        listener(WarningIssued(str(message)))

    experiment: Any = import_module(module)
    before, warnings.showwarning = warnings.showwarning, warn
    try:
        found = execute(experiment, job, listener, has_bar=False)
    finally:
        warnings.showwarning = before
    if isinstance(found, Failed) and not isinstance(found.error, UserError):
        return Failed(found.name, RemoteError(describe_error(found.error)), found.trace)
    return found


def describe_error(error: Exception) -> str:
    """An error in words."""
    if isinstance(error, UserError | RemoteError):
        return str(error)
    return f"{type(error).__name__}: {error}"


@dataclass
class InProcessExecutor:
    """Carries out jobs in this process, one at a time."""

    experiment: ExperimentModule
    waiting: list[Job] = field(default_factory=list)
    listener: Callable[[Report], None] = print

    def free_slots(self) -> list[int]:
        """One, unless a job is waiting."""
        return [] if self.waiting else [0]

    def submit(self, job: Job, place: int) -> None:
        """Keep a job for the next `wait`."""
        self.waiting.append(job)

    def wait(self, seconds: float) -> list[Report]:
        """Carry out the job; what it tells is heard at once."""
        if not self.waiting:
            time.sleep(seconds)
            return []
        job = self.waiting.pop()
        return [execute(self.experiment, job, lambda event: self.listener(Message(job.name, event)), has_bar=True)]

    def close(self) -> None:
        """Nothing is left to end."""
