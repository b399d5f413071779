"""Campaign: executes the runs of a plan, each exactly once, whatever happens to the processes that execute them.

Finished runs are skipped. A run held by another command is left to it, and taken over if that command dies. A run whose
worker died is requeued and resumes from its last checkpoint. Only this process writes results.
"""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field

import pandas as pd

from Utils.campaign import announcements
from Utils.campaign.interrupts import Interrupt, handle_interrupts
from Utils.campaign.jobs import (
    Executor,
    Failed,
    Finished,
    Job,
    Message,
    Report,
    WorkerDied,
)
from Utils.campaign.plan import Plan, PlannedRun
from Utils.campaign.queue import Entry, JobQueue
from Utils.campaign.recorder import MissingInputError, Recorder
from Utils.campaign.reporter import Reporter
from Utils.campaign.run_state import RunStates
from Utils.campaign.worker import InProcessExecutor
from Utils.errors import UserError
from Utils.results.outcome import Outcome
from Utils.results.store import Store
from Utils.training.context import CheckpointSaved, Evaluation, Progress, WarningIssued

_POLL_SECONDS = 0.5
"""Wait at most this long for reports before the queue is checked again: another command may have released a run."""

MakeExecutor = Callable[[Sequence[PlannedRun]], Executor]
"""Makes the executor of unfinished runs."""


def run_campaign(
    plan: Plan, store: Store, make_executor: MakeExecutor | None = None, reporter: Reporter | None = None
) -> int:
    """Execute the unfinished runs of a plan and store their outcomes; returns the number of failed runs.

    Without `make_executor` this process executes them, without `reporter` nothing is shown.
    A run that fails becomes a row with its reason, and the campaign continues. If a plan's only run cannot be honoured,
    that is an error and no row, unless the run failed because of a run that it needs. Raises `UserError` if nothing can
    be written or read, and `KeyboardInterrupt` if the user stops the campaign.
    """
    reporter = reporter or Reporter()
    states = RunStates(plan, store)
    if plan.saves and states.to_do:
        store.check_writable()
    plan.check(states.to_do)
    campaign = _Campaign(plan, states, Recorder(plan, store), reporter)
    for line in announcements.before(states):
        reporter.say(line)
    if states.to_do:
        campaign.run(make_executor or _in_process)
    for line in announcements.failures(plan.runs, campaign.failed):
        reporter.say(line)
    return sum(run.key in campaign.failed for run in plan.runs)


def _in_process(runs: Sequence[PlannedRun]) -> Executor:
    return InProcessExecutor()


@dataclass
class _Campaign:
    """The execution of a plan: passes reports of the executor to the queue, the recorder and the reporter."""

    plan: Plan
    states: RunStates
    recorder: Recorder
    reporter: Reporter
    queue: JobQueue = field(default_factory=JobQueue)
    failed: dict[str, str] = field(default_factory=dict)
    """Reasons by run key."""
    has_announced_wait: bool = False
    lacks_checkpoints: bool = False

    def __post_init__(self) -> None:
        self.failed |= self.states.failures_before()
        self.queue.finished |= {run.key for run in self.states.inputs_before}
        for run in self.states.to_do:
            self.states.state(run)  # what another command does from now on is noticed
        self.queue.add(self._entry(run) for run in self.states.to_do)

    def _entry(self, run: PlannedRun) -> Entry:
        needs = frozenset(need.settings.key() for need in run.needs)
        # Other runs wait for a run that they need: no worker may reserve it with the rest of a group.
        group = run.key if run.key in self.plan.needed else self.plan.group_of(run.settings)
        return Entry(run.key, group, needs)

    def _run(self, key: str) -> PlannedRun:
        return self.plan.by_key[key]

    def run(self, make_executor: MakeExecutor) -> None:
        """Execute all runs of the queue."""
        self.executor = make_executor(self.states.to_do)
        self.executor.listen(self._handle)
        done = len(self.states.finished_before)
        self.reporter.begin(done + len(self.states.to_do), done, self.executor.is_remote)
        try:
            with nullcontext(Interrupt()) if self.executor.is_group else handle_interrupts() as interrupt:
                while self.queue.running or (self.queue.waiting and not interrupt.is_requested):
                    if not interrupt.is_requested:
                        self._submit_runs()
                    for report in self.executor.wait(_POLL_SECONDS):
                        self._handle(report)
            if self.queue.waiting:
                raise KeyboardInterrupt
        finally:
            self.executor.close()
            self.reporter.close()
            self.recorder.close()

    def _submit_runs(self) -> None:
        """Fill the free slots of the executor."""
        slots = self.executor.free_slots()
        for slot in slots:
            self._fill(slot)
        is_idle = bool(slots and self.queue.postponed_at) and not self.queue.running
        if is_idle and not self.has_announced_wait:
            self.has_announced_wait = True
            waiting = f"the last {self.queue.waiting} networks"
            self.reporter.note(f"another command is running {waiting}; waiting for it")

    def _fill(self, slot: int) -> None:
        """Lock and start the next run for a slot, if there is one."""
        for entry in self.queue.candidates(slot):
            run = self._run(entry.name)
            if not self.recorder.acquire(run):
                self.queue.postpone(entry)
                continue
            state = self.recorder.finished_elsewhere(run, self.states.state(run))
            if state is None:
                self._start(entry, run, slot)
                return
            self.recorder.release(run)
            self.queue.drop(entry)
            if state.error:
                self.failed[run.key] = state.error
            words = f"FAILED, {state.error}" if state.error else "complete"
            self.reporter.skip(run, f"{run.title}: {words}, by another command meanwhile")

    def _start(self, entry: Entry, run: PlannedRun, slot: int) -> None:
        self.queue.start(entry, slot)
        try:
            inputs = self.recorder.inputs(run, self.failed)
        except MissingInputError as error:
            self._repeat(self._run(error.key), run, str(error))
            return
        except UserError as error:
            self._record_failure(run, str(error))
            return
        checkpoints, every = self.recorder.checkpoints(run)
        self.reporter.start(run)
        job = Job(run.key, run.settings, run.implementation, inputs, checkpoints, every, self.reporter.bars)
        self.executor.submit((job,), slot)

    def _repeat(self, need: PlannedRun, run: PlannedRun, reason: str) -> None:
        """Requeue a run, and a finished one that it needs and whose results have vanished."""
        if not self.queue.repeat(self._entry(need), run.key):
            self._record_failure(run, f"{reason}, however often they were made")
            return
        self.recorder.release(run)
        self.states.look_again(need)
        self.reporter.repeat(f"{reason}; it is executed again")

    def _handle(self, report: Report) -> None:
        run = self._run(report.name)
        if isinstance(report, Message):
            self._handle_message(run, report)
        elif isinstance(report, WorkerDied):
            self._handle_death(run, report.reason)
        elif isinstance(report, Failed):
            self._fail(run, report)
        else:
            self._record(run, report)

    def _handle_message(self, run: PlannedRun, message: Message) -> None:
        event = message.event
        if isinstance(event, Progress):
            self.reporter.progress(run, event)
        elif isinstance(event, WarningIssued):
            self.reporter.warn(event.text)
        elif isinstance(event, Evaluation):
            self.reporter.evaluation(run, event)
        elif isinstance(event, CheckpointSaved):
            self._save_checkpoint(run, event)

    def _save_checkpoint(self, run: PlannedRun, checkpoint: CheckpointSaved) -> None:
        try:
            self.recorder.save_checkpoint(run, checkpoint)
            self.queue.note_progress(run.key)
        except UserError as error:
            if not self.lacks_checkpoints:
                self.lacks_checkpoints = True
                self.reporter.warn(f"{run.title} continues without a checkpoint: {error}")

    def _handle_death(self, run: PlannedRun, reason: str) -> None:
        """Requeue the run of a worker that died, unless the run has killed too many workers."""
        deaths = self.queue.note_death(run.key)
        if deaths is not None:
            self._record_failure(run, f"{reason}, {deaths} times")
            return
        self.recorder.release(run)
        self.reporter.requeue(run, f"{run.title}: {reason}; it will begin again")

    def _fail(self, run: PlannedRun, failure: Failed) -> None:
        is_refused = len(self.plan.runs) == 1 and not failure.trace
        if is_refused or self.executor.is_group:
            raise UserError(failure.reason)
        self._record_failure(run, failure.reason, failure.trace)

    def _record_failure(self, run: PlannedRun, reason: str, trace: str = "") -> None:
        outcome = Outcome.failed(reason, trace)
        row = self.recorder.record(run, outcome, keeps_checkpoints=True)
        self._finish(run, outcome, row)

    def _record(self, run: PlannedRun, finished: Finished) -> None:
        row = self.recorder.record(run, finished.outcome, finished.seconds)
        self._finish(run, finished.outcome, row)

    def _finish(self, run: PlannedRun, outcome: Outcome, row: pd.DataFrame) -> None:
        if outcome.error:
            self.failed[run.key] = outcome.error
        self.queue.finish(run.key)
        self.reporter.finish(run, row, {"layers": outcome.layers, **outcome.tables})
