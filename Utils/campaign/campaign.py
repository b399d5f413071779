"""How are runs carried out, each once, whatever happens to the processes that do it?

A run that is complete is skipped; one that another command is making now is left to it, and taken over if that dies;
one whose process died is begun again, from its last checkpoint. Only the process that runs this writes results.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field

import pandas as pd
from torch import Tensor

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
"""Times that a run is begun, or goes on from the same checkpoint, whose process dies."""

_FEW = 10
"""Networks that are told of one by one."""

_AGAIN = " (--retry_failed runs it again)"

_LOOK_EVERY = 0.5
"""Seconds between looks for what another command has left to do, when there is nothing else to do."""


@dataclass(frozen=True)
class _Step:
    """What is done with an item: it is begun at a place, or over without."""

    item: Entry
    place: int | None = None
    error: str = ""
    """Why it failed, if it did."""


def _own_key(settings: Settings) -> str:
    return settings.key()


@dataclass
class Campaign:
    """Carries out what is not over of some resolved runs, and keeps what they give."""

    states: RunStates
    runs: Sequence[Settings]
    baseline: Callable[[Settings], Settings]
    """What a run would be without flags, to tell in its row what is unusual."""
    say: Callable[[str], object]
    """Tells the user something."""
    describe: Callable[[Settings, pd.DataFrame, pd.DataFrame], str]
    """What to say of a run that is over, from its row of `summary.csv` and its `layers.csv`."""
    group_of: Callable[[Settings], str] = _own_key
    """Runs for which this is the same are made by one process, one after the other."""
    make_executor: Callable[[int], Executor] | None = None
    """Makes what carries out so many runs; None: this process does."""
    tensorboard: TensorBoardWriter | None = None
    queue: JobQueue = field(default_factory=JobQueue)
    failed: dict[str, str] = field(default_factory=dict)
    """Reasons, by the names of runs."""
    attempts: dict[str, int] = field(default_factory=dict)
    started: set[str] = field(default_factory=set)
    weights: dict[str, Mapping[str, Tensor]] = field(default_factory=dict)
    """Weights of runs of this session that others need, where none are kept."""

    def __post_init__(self) -> None:
        self.store = self.states.store
        self.locks = RunLocks(self.store.path)
        self.saves = bool(self.runs) and self.runs[0].run.save
        to_do = self.to_do = self.states.to_do(self.runs)
        needed = self.states.dense_parents_of(to_do)
        self.needed = frozenset(needed)
        self.queue.add(self._entry(settings) for settings in to_do)
        waiting = {settings.key() for settings in to_do}
        self.finished_before = [settings for settings in self.runs if settings.key() not in waiting]
        self.parents_before = [settings for name, settings in needed.items() if name not in waiting]
        self.queue.finished.update(settings.key() for settings in self.parents_before)
        for settings in (*self.finished_before, *self.parents_before):
            self._recall_failure(settings)
        self.total = len(to_do) + len(self.finished_before)
        self.has_announced_wait = self.lacks_checkpoints = False

    def _entry(self, settings: Settings) -> Entry:
        needed = self.states.dense_parent(settings)
        name = settings.key()
        # What others wait for is nobody's to keep for later.
        group = name if name in self.needed else self.group_of(settings)
        marks = self.states.state(settings).fingerprint if self.saves else None
        return Entry(settings, name, group, None if needed is None else needed.key(), marks)

    def _recall_failure(self, settings: Settings) -> None:
        """Remember how a run failed before, if it did."""
        state = self.states.state(settings)
        if state.status == "failed":
            self.failed[settings.key()] = state.error

    def run(self) -> int:
        """Carry out what is not over; returns the number of failed runs.

        A run that cannot be carried out becomes a row with its reason; one that is all of the campaign raises what it
        raised, unless that is that another failed which it needs.
        """
        self._announce()
        if not self.queue.waiting:
            return self._summarise()
        self.executor = self._executor()
        shows_runs = self.make_executor is not None
        self.progress = CampaignProgress(self.say, self.total, len(self.finished_before), shows_runs=shows_runs)
        try:
            # Several processes that train one network must all do the same.
            watch = handle_interrupts() if share().of == 1 else nullcontext(Interrupt())
            with watch as wish:
                while self.queue.running or (self.queue.waiting and not wish.is_requested):
                    if not wish.is_requested:
                        self._submit_runs()
                    for event in self.executor.wait(_LOOK_EVERY):
                        self._handle(event)
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
        first = [settings.title() for settings in self.to_do if settings.key() not in wanted]
        if first:
            words = first[0] if len(first) == 1 else f"{len(first)} networks"
            self.say(f"training {words} first, whose weights others score")
        for settings in self.parents_before:
            if settings.key() in self.failed and settings.key() not in wanted:
                error = self.failed[settings.key()]
                self.say(f"{settings.title()}, whose weights others score: failed before, {error}{_AGAIN}")
        count = len(self.finished_before)
        if count > _FEW:
            failed = sum(settings.key() in self.failed for settings in self.finished_before)
            self.say(f"{count - failed} of {self.total} networks are complete already, {failed} failed before")
            return
        for settings in self.finished_before:
            place, error = self.store.folder(settings), self.failed.get(settings.key())
            if error is None:
                self.say(f"{settings.title()}: complete already, in {place} (--overwrite runs it again)")
            else:
                self.say(f"{settings.title()}: failed before, {error}{_AGAIN}\n  {place}")

    def _summarise(self) -> int:
        failed = [settings for settings in self.runs if settings.key() in self.failed]
        if failed and len(self.runs) > 1:
            self.say(f"{len(failed)} of {len(self.runs)} networks failed; --retry_failed runs them again:")
            for settings in failed[:_FEW]:
                self.say(f"  {settings.title()}: {self.failed[settings.key()]}")
            if len(failed) > _FEW:
                self.say(f"  and {len(failed) - _FEW} more; --status lists them")
        return len(failed)

    def _submit_runs(self) -> None:
        """Begin what can begin now."""
        places = self.executor.free_slots()
        for place in places:
            for step in agree(lambda place=place: self._next_steps(place)):
                if step.place is None:
                    self._finish_elsewhere(step.item, step.error)
                else:
                    self._start(step.item, step.place)
        is_idle = bool(places and self.queue.postponed_at) and not self.queue.running
        if is_idle and not self.has_announced_wait:
            self.has_announced_wait = True
            self.progress.print_above(
                f"another command is making the last {self.queue.waiting} networks; waiting for it"
            )

    def _next_steps(self, place: int) -> list[_Step]:
        """Find the next run for a place, and claim it. Of several processes, the first decides for all."""
        steps = []
        for item in self.queue.candidates(place):
            if self.saves and not self.locks.acquire(item.name):
                self.queue.postpone(item)
                continue
            # Another command may have made it since this one looked.
            state = self.store.state(item.settings) if self.saves else None
            if state is not None and state.fingerprint != item.fingerprint and state.status != "missing":
                self.locks.release(item.name)
                steps.append(_Step(item, error=state.error))
                continue
            return [*steps, _Step(item, place)]
        return steps

    def _finish_elsewhere(self, item: Entry, error: str) -> None:
        self.queue.drop(item)
        if error:
            self.failed[item.name] = error
        words = f"FAILED, {error}" if error else "complete"
        self.progress.finish(item.name, f"{item.settings.title()}: {words}, by another command meanwhile")

    def _start(self, item: Entry, place: int) -> None:
        self.queue.start(item, place)
        settings = item.settings
        try:
            trained = self._dense_weights(item)
        except UserError as error:
            self._record_failure(item, error)
            return
        keeps = self.saves and settings.machine.checkpoint_every != 0
        if self.saves and settings.run.overwrite and item.name not in self.started:
            agree(lambda: self.store.delete_checkpoints(settings))
        self.started.add(item.name)
        checkpoints = agree(lambda: self.store.read_checkpoints(settings)) if keeps else {}
        every = settings.machine.checkpoint_every if keeps else 0
        above = 1 if self.total > 1 and self.progress.is_terminal else 0
        self.progress.start(item.name, settings.title())
        self.executor.submit(Job(item.name, settings, trained, checkpoints, every, above), place)

    def _dense_weights(self, item: Entry) -> Mapping[str, Tensor] | None:
        needed = self.states.dense_parent(item.settings)
        if needed is None:
            return None
        if needed.key() in self.failed:
            raise UserError(f"it needs {needed.title()}, which failed: {self.failed[needed.key()]}")
        weights = self.weights.get(needed.key()) or agree(lambda: self.store.read_weights(needed))
        if weights is None:
            raise UserError(f"the trained weights of {needed.title()} cannot be read; run it again with --overwrite")
        return weights

    def _handle(self, event: Report) -> None:
        item = self.queue.running[event.name]
        if isinstance(event, Message):
            self._handle_message(item, event)
        elif isinstance(event, WorkerDied):
            self._handle_death(item, event.reason)
        elif isinstance(event, Failed):
            self._fail(item, event.error, event.trace)
        else:
            self._record(item, event)

    def _handle_message(self, item: Entry, message: Message) -> None:
        event = message.event
        if isinstance(event, Progress):
            self.progress.update(item.name, event)
        elif isinstance(event, WarningIssued):
            self.progress.warn(event.text)
        elif isinstance(event, Evaluation):
            self._write_to_tensorboard(item, event)
        elif isinstance(event, CheckpointSaved):
            try:
                self.store.write_checkpoint(item.settings, event.name, event.content)
                self.attempts.pop(item.name, None)
            except UserError as error:
                if not self.lacks_checkpoints:
                    self.lacks_checkpoints = True
                    self.progress.warn(f"{item.settings.title()} goes on without a checkpoint: {error}")

    def _write_to_tensorboard(self, item: Entry, row: Evaluation) -> None:
        if self.tensorboard is None or not is_first():
            return
        try:
            self.tensorboard.add(item.settings, row)
        except OSError as error:
            self.tensorboard = None
            self.progress.warn(f"nothing more is written for TensorBoard: {error.strerror or error}")

    def _handle_death(self, item: Entry, why: str) -> None:
        """A process died: its run is made again, unless it kills every one."""
        self.attempts[item.name] = self.attempts.get(item.name, 0) + 1
        if self.attempts[item.name] >= _ATTEMPTS:
            self._fail(item, UserError(f"{why}, {_ATTEMPTS} times"))
            return
        self.queue.requeue(item.name)
        self._release(item)
        self.progress.finish(item.name, f"{item.settings.title()}: {why}; it will begin again", is_over=False)

    def _fail(self, item: Entry, error: Exception, trace: str = "") -> None:
        # Of several processes that train one network, the others may not have met the error.
        if len(self.runs) == 1 or share().of > 1:
            raise error
        self._record_failure(item, error, trace)

    def _record_failure(self, item: Entry, error: Exception, trace: str = "") -> None:
        self._write(item, Outcome.failed(describe_error(error), trace), 0.0, keeps_checkpoints=True)

    def _record(self, item: Entry, found: Finished) -> None:
        if item.name in self.needed and not self.saves:
            self.weights[item.name] = found.outcome.weights
        self._write(item, found.outcome, found.seconds)

    def _write(self, item: Entry, outcome: Outcome, seconds: float, keeps_checkpoints: bool = False) -> None:
        settings, usual = item.settings, self.baseline(item.settings)
        if self.saves:
            row = agree(lambda: self.store.write(settings, usual, outcome, seconds, keeps_checkpoints))
        else:
            row = summary_row(settings, usual, outcome)
        if outcome.error:
            self.failed[item.name] = outcome.error
        self.queue.finish(item.name)
        self._release(item)
        number = f"[{self.progress.done + 1}/{self.total}] " if self.total > 1 and not self.progress.is_terminal else ""
        self.progress.finish(item.name, number + self.describe(settings, row, outcome.layers))

    def _release(self, item: Entry) -> None:
        if item.name in self.locks.held:
            self.locks.release(item.name)
