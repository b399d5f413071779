"""Campaign: executes resolved runs, each exactly once, whatever happens to the processes that execute them.

Finished runs are skipped. A run held by another command is left to it, and taken over if that command dies. A run whose
worker died is requeued and resumes from its last checkpoint. Only this process writes results.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field

import pandas as pd
from torch import Tensor

from Utils.campaign import announcements
from Utils.campaign.interrupts import Interrupt, handle_interrupts
from Utils.campaign.jobs import (
    Executor,
    Failed,
    Finished,
    InProcessExecutor,
    Job,
    Message,
    Report,
    WorkerDied,
    describe_error,
)
from Utils.campaign.locks import RunLocks
from Utils.campaign.progress import CampaignProgress
from Utils.campaign.queue import Entry, JobQueue
from Utils.campaign.run_state import RunStates
from Utils.campaign.tensorboard import TensorBoardWriter
from Utils.config.settings import Settings
from Utils.distributed.process_group import agree, is_first, share
from Utils.errors import UserError
from Utils.results.outcome import Outcome
from Utils.results.store import summary_row
from Utils.training.context import CheckpointSaved, Evaluation, Progress, WarningIssued

_ATTEMPTS = 5
"""Fail a run after this many workers died on it without a new checkpoint."""

_POLL_SECONDS = 0.5
"""Wait at most this long for reports before the queue is checked again: another command may have released a run."""


@dataclass(frozen=True)
class _Step:
    """The decision about one entry: start it in a slot, or drop it because another command finished it."""

    entry: Entry
    slot: int | None = None
    error: str = ""
    """The reason if the other command's run failed."""


@dataclass
class Campaign:
    """Executes the unfinished runs of a list and records their outcomes."""

    states: RunStates
    runs: Sequence[Settings]
    baseline: Callable[[Settings], Settings]
    """The run without flags on the same architecture and data; a row names only differences from it."""
    say: Callable[[str], object]
    """Prints a message to the user."""
    describe: Callable[[Settings, pd.DataFrame, pd.DataFrame], str]
    """The message for a finished run, from its row of `summary.csv` and its `layers.csv`."""
    group_of: Callable[[Settings], str] = Settings.key
    """Runs of one group are executed by one worker where possible, so that they share scores."""
    make_executor: Callable[[int], Executor] | None = None
    """Makes the executor for a number of runs; None: runs are executed in this process."""
    tensorboard: TensorBoardWriter | None = None
    queue: JobQueue = field(default_factory=JobQueue)
    failed: dict[str, str] = field(default_factory=dict)
    """Reasons by run key."""
    attempts: dict[str, int] = field(default_factory=dict)
    started: set[str] = field(default_factory=set)
    weights: dict[str, Mapping[str, Tensor]] = field(default_factory=dict)
    """Weights of dense parents, kept in memory where results are not saved."""

    def __post_init__(self) -> None:
        self.store = self.states.store
        self.locks = RunLocks(self.store.path)
        self.saves = bool(self.runs) and self.runs[0].run.save
        to_do = self.to_do = self.states.to_do(self.runs)
        parents = self.states.dense_parents_of(to_do)
        self.needed = frozenset(parents)
        self.queue.add(self._entry(settings) for settings in to_do)
        waiting = {settings.key() for settings in to_do}
        self.finished_before = [settings for settings in self.runs if settings.key() not in waiting]
        self.parents_before = [settings for name, settings in parents.items() if name not in waiting]
        self.queue.finished.update(settings.key() for settings in self.parents_before)
        for settings in (*self.finished_before, *self.parents_before):
            if self.states.state(settings).status == "failed":
                self.failed[settings.key()] = self.states.state(settings).error
        self.total = len(to_do) + len(self.finished_before)
        self.has_announced_wait = self.lacks_checkpoints = False

    def _entry(self, settings: Settings) -> Entry:
        parent = self.states.dense_parent(settings)
        name = settings.key()
        # Other runs wait for a dense parent: no worker may reserve it with the rest of a group.
        group = name if name in self.needed else self.group_of(settings)
        fingerprint = self.states.state(settings).fingerprint if self.saves else None
        return Entry(settings, name, group, None if parent is None else parent.key(), fingerprint)

    def run(self) -> int:
        """Execute all unfinished runs; returns the number of failed runs.

        A run that fails becomes a row with its reason, and the campaign continues. The error of a campaign's only run
        is raised, unless the run failed because its dense parent did.
        """
        self._announce()
        if not self.queue.waiting:
            return self._summarise()
        self.executor = self._executor()
        shows_runs = self.make_executor is not None
        self.progress = CampaignProgress(self.say, self.total, len(self.finished_before), shows_runs=shows_runs)
        try:
            # All processes that train one network must do the same, so none of them may stop on its own.
            watch = handle_interrupts() if share().of == 1 else nullcontext(Interrupt())
            with watch as interrupt:
                while self.queue.running or (self.queue.waiting and not interrupt.is_requested):
                    if not interrupt.is_requested:
                        self._submit_runs()
                    for report in self.executor.wait(_POLL_SECONDS):
                        self._handle(report)
            if self.queue.waiting:
                raise KeyboardInterrupt
        finally:
            self.executor.close()
            self.progress.close()
            self.locks.release_all()
        return self._summarise()

    def _executor(self) -> Executor:
        if self.make_executor is None:
            return InProcessExecutor(self.states.experiment, listener=self._handle)
        return self.make_executor(self.queue.waiting)

    def _announce(self) -> None:
        wanted = {settings.key() for settings in self.runs}
        missing = [settings for settings in self.to_do if settings.key() not in wanted]
        for line in announcements.dense_parents(missing, self.parents_before, wanted, self.failed):
            self.say(line)
        for line in announcements.finished_before(self.finished_before, self.total, self.failed, self.store):
            self.say(line)

    def _summarise(self) -> int:
        for line in announcements.failures(self.runs, self.failed):
            self.say(line)
        return sum(settings.key() in self.failed for settings in self.runs)

    def _submit_runs(self) -> None:
        """Fill the free slots of the executor."""
        slots = self.executor.free_slots()
        for slot in slots:
            for step in agree(lambda slot=slot: self._next_steps(slot)):
                if step.slot is None:
                    self._finish_elsewhere(step.entry, step.error)
                else:
                    self._start(step.entry, step.slot)
        is_idle = bool(slots and self.queue.postponed_at) and not self.queue.running
        if is_idle and not self.has_announced_wait:
            self.has_announced_wait = True
            waiting = f"the last {self.queue.waiting} networks"
            self.progress.print_above(f"another command is running {waiting}; waiting for it")

    def _next_steps(self, slot: int) -> list[_Step]:
        """Lock the next run for a slot. Of several processes that train one network, the first decides for all."""
        steps = []
        for entry in self.queue.candidates(slot):
            if self.saves and not self.locks.acquire(entry.name):
                self.queue.postpone(entry)
                continue
            # Another command may have finished the run after this one looked.
            state = self.store.state(entry.settings) if self.saves else None
            if state is not None and state.fingerprint != entry.fingerprint and state.status != "missing":
                self.locks.release(entry.name)
                steps.append(_Step(entry, error=state.error))
                continue
            return [*steps, _Step(entry, slot)]
        return steps

    def _finish_elsewhere(self, entry: Entry, error: str) -> None:
        self.queue.drop(entry)
        if error:
            self.failed[entry.name] = error
        words = f"FAILED, {error}" if error else "complete"
        self.progress.finish(entry.name, f"{entry.settings.title()}: {words}, by another command meanwhile")

    def _start(self, entry: Entry, slot: int) -> None:
        self.queue.start(entry, slot)
        settings = entry.settings
        try:
            weights = self._dense_weights(entry)
        except UserError as error:
            self._record_failure(entry, error)
            return
        has_checkpoints = self.saves and settings.machine.checkpoint_every != 0
        if self.saves and settings.run.overwrite and entry.name not in self.started:
            agree(lambda: self.store.delete_checkpoints(settings))
        self.started.add(entry.name)
        checkpoints = agree(lambda: self.store.read_checkpoints(settings)) if has_checkpoints else {}
        every = settings.machine.checkpoint_every if has_checkpoints else 0
        bars_above = 1 if self.total > 1 and self.progress.is_terminal else 0
        self.progress.start(entry.name, settings.title())
        self.executor.submit(Job(entry.name, settings, weights, checkpoints, every, bars_above), slot)

    def _dense_weights(self, entry: Entry) -> Mapping[str, Tensor] | None:
        parent = self.states.dense_parent(entry.settings)
        if parent is None:
            return None
        if parent.key() in self.failed:
            raise UserError(f"it needs {parent.title()}, which failed: {self.failed[parent.key()]}")
        weights = self.weights.get(parent.key()) or agree(lambda: self.store.read_weights(parent))
        if weights is None:
            raise UserError(f"the trained weights of {parent.title()} cannot be read; run it again with --overwrite")
        return weights

    def _handle(self, report: Report) -> None:
        entry = self.queue.running[report.name]
        if isinstance(report, Message):
            self._handle_message(entry, report)
        elif isinstance(report, WorkerDied):
            self._handle_death(entry, report.reason)
        elif isinstance(report, Failed):
            self._fail(entry, report.error, report.trace)
        else:
            self._record(entry, report)

    def _handle_message(self, entry: Entry, message: Message) -> None:
        event = message.event
        if isinstance(event, Progress):
            self.progress.update(entry.name, event)
        elif isinstance(event, WarningIssued):
            self.progress.warn(event.text)
        elif isinstance(event, Evaluation):
            self._write_to_tensorboard(entry, event)
        elif isinstance(event, CheckpointSaved):
            self._write_checkpoint(entry, event)

    def _write_checkpoint(self, entry: Entry, checkpoint: CheckpointSaved) -> None:
        try:
            self.store.write_checkpoint(entry.settings, checkpoint.name, checkpoint.content)
            self.attempts.pop(entry.name, None)
        except UserError as error:
            if not self.lacks_checkpoints:
                self.lacks_checkpoints = True
                self.progress.warn(f"{entry.settings.title()} goes on without a checkpoint: {error}")

    def _write_to_tensorboard(self, entry: Entry, evaluation: Evaluation) -> None:
        if self.tensorboard is None or not is_first():
            return
        try:
            self.tensorboard.add(entry.settings, evaluation)
        except OSError as error:
            self.tensorboard = None
            self.progress.warn(f"nothing more is written for TensorBoard: {error.strerror or error}")

    def _handle_death(self, entry: Entry, reason: str) -> None:
        """Requeue the run of a worker that died, unless the run has killed too many workers."""
        self.attempts[entry.name] = self.attempts.get(entry.name, 0) + 1
        if self.attempts[entry.name] >= _ATTEMPTS:
            self._fail(entry, UserError(f"{reason}, {_ATTEMPTS} times"))
            return
        self.queue.requeue(entry.name)
        self._release(entry)
        self.progress.finish(entry.name, f"{entry.settings.title()}: {reason}; it will begin again", is_final=False)

    def _fail(self, entry: Entry, error: Exception, trace: str = "") -> None:
        # Of several processes that train one network, the others may not have met the error.
        if len(self.runs) == 1 or share().of > 1:
            raise error
        self._record_failure(entry, error, trace)

    def _record_failure(self, entry: Entry, error: Exception, trace: str = "") -> None:
        self._write(entry, Outcome.failed(describe_error(error), trace), 0.0, keeps_checkpoints=True)

    def _record(self, entry: Entry, finished: Finished) -> None:
        if entry.name in self.needed and not self.saves:
            self.weights[entry.name] = finished.outcome.weights
        self._write(entry, finished.outcome, finished.seconds)

    def _write(self, entry: Entry, outcome: Outcome, seconds: float, keeps_checkpoints: bool = False) -> None:
        settings, baseline = entry.settings, self.baseline(entry.settings)
        if self.saves:
            row = agree(lambda: self.store.write(settings, baseline, outcome, seconds, keeps_checkpoints))
        else:
            row = summary_row(settings, baseline, outcome)
        if outcome.error:
            self.failed[entry.name] = outcome.error
        self.queue.finish(entry.name)
        self._release(entry)
        number = f"[{self.progress.done + 1}/{self.total}] " if self.total > 1 and not self.progress.is_terminal else ""
        self.progress.finish(entry.name, number + self.describe(settings, row, outcome.layers))

    def _release(self, entry: Entry) -> None:
        if entry.name in self.locks.held:
            self.locks.release(entry.name)
