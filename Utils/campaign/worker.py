"""Worker: executes jobs in this process, one after another, and keeps between them what they have in common."""

import time
import traceback
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

from Utils.campaign.jobs import Failed, Finished, Job, Message, RemoteError, Report, describe_error
from Utils.errors import UserError
from Utils.training.context import Event, RunContext, WarningIssued, call
from Utils.training.memory import WorkerMemory


@dataclass
class Worker:
    """A process that executes jobs."""

    has_bars: bool = True
    """Whether trainings show their own progress bars."""
    memory: WorkerMemory = field(default_factory=WorkerMemory)
    first_process: Callable[[Callable[[], Any]], Any] = call
    """Calls a function in the first of several processes that execute each job together."""

    def execute(self, job: Job, listener: Callable[[Event], None]) -> Finished | Failed:
        """Execute a job; events go to the listener."""
        started = time.perf_counter()
        context = RunContext(
            listener, job.checkpoints, job.checkpoint_every, job.name, self.has_bars, job.bars_above, self.memory,
            self.first_process,
        )  # fmt: skip
        module, _, function = job.implementation.partition(":")
        try:
            outcome = getattr(import_module(module), function)(job.settings, job.inputs, context)
        except Exception as error:
            trace = "" if isinstance(error, UserError) else traceback.format_exc()
            return Failed(job.name, error, trace)
        return Finished(job.name, outcome, time.perf_counter() - started)


@dataclass
class RemoteWorker(Worker):
    """A worker whose events and reports are sent to another process."""

    has_bars: bool = False

    def execute_remotely(self, job: Job, send: Callable[[Message], None]) -> Finished | Failed:
        """Execute a job: warnings become messages, and errors become ones that can be pickled."""

        def listener(event: Event) -> None:
            send(Message(job.name, event))

        def warn(message: Any, *place: object) -> None:
            listener(WarningIssued(str(message)))

        before, warnings.showwarning = warnings.showwarning, warn
        try:
            report = self.execute(job, listener)
        finally:
            warnings.showwarning = before
        if isinstance(report, Failed) and not isinstance(report.error, UserError):
            return Failed(report.name, RemoteError(describe_error(report.error)), report.trace)
        return report


@dataclass
class InProcessExecutor:
    """Executes jobs in this process, one at a time."""

    worker: Worker = field(default_factory=Worker)
    waiting: list[Job] = field(default_factory=list)
    is_remote: bool = False
    is_group: bool = False

    def listen(self, listener: Callable[[Report], None]) -> None:
        """Pass the messages of a job on while `wait` executes it."""
        self.listener = listener

    def free_slots(self) -> list[int]:
        """One slot, unless a job is waiting."""
        return [] if self.waiting else [0]

    def submit(self, job: Job, slot: int) -> None:
        """Hold a job until the next `wait`."""
        self.waiting.append(job)

    def wait(self, seconds: float) -> list[Report]:
        """Execute the waiting job; the listener receives its messages at once."""
        if not self.waiting:
            time.sleep(seconds)
            return []
        job = self.waiting.pop()
        return [self.worker.execute(job, lambda event: self.listener(Message(job.name, event)))]

    def close(self) -> None:
        """Nothing to end: no worker outlives a call."""
