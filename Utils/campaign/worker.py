"""Worker: executes bundles of jobs in this process, and keeps between them what they have in common."""

import time
import traceback
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

from Utils.campaign.jobs import Bundle, Failed, Finished, Job, Message, Report
from Utils.errors import UserError, describe_error
from Utils.training.context import Event, RunContext, WarningIssued, call
from Utils.training.memory import WorkerMemory
from Utils.user_code import is_ctrl_c, no_exit


@dataclass
class Worker:
    """A process that executes jobs."""

    has_bars: bool = True
    """Whether trainings show their own progress bars."""
    hears_ctrl_c: bool = True
    """Whether Ctrl-C of the user ends its work."""
    memory: WorkerMemory = field(default_factory=WorkerMemory)
    first_process: Callable[[Callable[[], Any]], Any] = call
    """Calls a function in the first of several processes that execute each job together."""

    def execute(self, bundle: Bundle, send: Callable[[Message], None]) -> list[Finished | Failed]:
        """Execute the jobs of a bundle, one after another; their messages are sent at once."""
        return [self._execute(job, (job.name,), send) for job in bundle]

    def _execute(self, job: Job, members: Sequence[str], send: Callable[[Message], None]) -> Finished | Failed:
        """Execute a job; `members` are the keys of the runs that its events are about."""
        started = time.perf_counter()

        def listener(event: Event) -> None:
            send(Message(members[event.member], event))

        context = RunContext(
            listener, job.checkpoints, job.checkpoint_every, job.name, self.has_bars, job.bars_above, self.memory,
            self.first_process,
        )  # fmt: skip
        module, _, function = job.implementation.partition(":")
        try:
            with no_exit():
                outcome = getattr(import_module(module), function)(job.settings, job.inputs, context)
        except BaseException as error:  # a network of the user may raise any kind
            if self.hears_ctrl_c and is_ctrl_c(error):
                raise
            trace = "" if isinstance(error, UserError) else traceback.format_exc()
            return Failed(job.name, describe_error(error), trace)
        return Finished(job.name, outcome, time.perf_counter() - started)


@dataclass
class RemoteWorker(Worker):
    """A worker whose messages and reports are sent to another process."""

    has_bars: bool = False
    hears_ctrl_c: bool = False

    def execute(self, bundle: Bundle, send: Callable[[Message], None]) -> list[Finished | Failed]:
        """Execute a bundle; warnings become messages."""

        def warn(message: Any, *place: object) -> None:
            send(Message(bundle[0].name, WarningIssued(str(message))))

        before, warnings.showwarning = warnings.showwarning, warn
        try:
            return super().execute(bundle, send)
        finally:
            warnings.showwarning = before


@dataclass
class InProcessExecutor:
    """Executes bundles in this process, one at a time."""

    worker: Worker = field(default_factory=Worker)
    waiting: list[Bundle] = field(default_factory=list)
    is_remote: bool = False
    is_group: bool = False

    def listen(self, listener: Callable[[Report], None]) -> None:
        """Pass messages on while `wait` executes a bundle."""
        self.listener = listener

    def free_slots(self) -> list[int]:
        """One slot, unless a bundle is waiting."""
        return [] if self.waiting else [0]

    def submit(self, bundle: Bundle, slot: int) -> None:
        """Hold a bundle until the next `wait`."""
        self.waiting.append(bundle)

    def wait(self, seconds: float) -> list[Report]:
        """Execute the waiting bundle; the listener receives its messages at once."""
        if not self.waiting:
            time.sleep(seconds)
            return []
        return list(self.worker.execute(self.waiting.pop(), self.listener))

    def close(self) -> None:
        """Nothing to end: no worker outlives a call."""
