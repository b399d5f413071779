"""How are runs carried out, each once, whatever happens to the processes that do it?

A run that is complete is skipped; one that another command is making now is left to it, and taken over if that dies;
one whose process died is begun again, from its last checkpoint. Only the process that runs this writes results.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field

import pandas as pd
from torch import Tensor

from Utils.campaign.interrupts import Interruption, interruption
from Utils.campaign.jobs import Broken, Event, Executor, Finished, Here, Job, Lost, Told, reason
from Utils.campaign.locks import Claims
from Utils.campaign.progress import Display
from Utils.campaign.queue import Agenda, Item
from Utils.campaign.run_state import Ledger
from Utils.campaign.tensorboard import Board
from Utils.config.settings import Settings
from Utils.distributed.process_group import agree, is_first, share
from Utils.errors import UserError
from Utils.results.outcome import Outcome
from Utils.results.store import summary_row
from Utils.training.context import Kept, Progress, Row, Said

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

    item: Item
    place: int | None = None
    error: str = ""
    """Why it failed, if it did."""


def _own_key(settings: Settings) -> str:
    return settings.key()


@dataclass
class Campaign:
    """Carries out what is not over of some resolved runs, and keeps what they give."""

    ledger: Ledger
    runs: Sequence[Settings]
    usual: Callable[[Settings], Settings]
    """What a run would be without flags, to tell in its row what is unusual."""
    say: Callable[[str], object]
    """Tells the user something."""
    finished: Callable[[Settings, pd.DataFrame, pd.DataFrame], str]
    """What to say of a run that is over, from its row of `summary.csv` and its `layers.csv`."""
    group: Callable[[Settings], str] = _own_key
    """Runs for which this is the same are made by one process, one after the other."""
    make_executor: Callable[[int], Executor] | None = None
    """Makes what carries out so many runs; None: this process does."""
    board: Board | None = None
    agenda: Agenda = field(default_factory=Agenda)
    failed: dict[str, str] = field(default_factory=dict)
    """Reasons, by the names of runs."""
    attempts: dict[str, int] = field(default_factory=dict)
    begun: set[str] = field(default_factory=set)
    trained: dict[str, Mapping[str, Tensor]] = field(default_factory=dict)
    """Weights of runs of this session that others need, where none are kept."""

    def __post_init__(self) -> None:
        self.store = self.ledger.store
        self.claims = Claims(self.store.path)
        self.saves = bool(self.runs) and self.runs[0].run.save
        to_do = self.to_do = self.ledger.to_do(self.runs)
        needed = self.ledger.needed(to_do)
        self.needed = frozenset(needed)
        self.agenda.add(self._item(settings) for settings in to_do)
        waiting = {settings.key() for settings in to_do}
        self.over_before = [settings for settings in self.runs if settings.key() not in waiting]
        self.needed_before = [settings for name, settings in needed.items() if name not in waiting]
        self.agenda.over.update(settings.key() for settings in self.needed_before)
        for settings in (*self.over_before, *self.needed_before):
            self._look_back(settings)
        self.total = len(to_do) + len(self.over_before)
        self.has_said_that_it_waits = self.lacks_checkpoints = False

    def _item(self, settings: Settings) -> Item:
        needed = self.ledger.trained_run(settings)
        name = settings.key()
        # What others wait for is nobody's to keep for later.
        group = name if name in self.needed else self.group(settings)
        marks = self.ledger.state(settings).marks if self.saves else None
        return Item(settings, name, group, None if needed is None else needed.key(), marks)

    def _look_back(self, settings: Settings) -> None:
        """Remember how a run failed before, if it did."""
        state = self.ledger.state(settings)
        if state.status == "failed":
            self.failed[settings.key()] = state.error

    def run(self) -> int:
        """Carry out what is not over; returns the number of failed runs.

        A run that cannot be carried out becomes a row with its reason; one that is all of the campaign raises what it
        raised, unless that is that another failed which it needs.
        """
        self._say_what_is_to_come()
        if not self.agenda.waiting:
            return self._summed_up()
        make = self.make_executor
        self.executor: Executor = Here(self.ledger.experiment, listener=self._hear) if make is None else make(
            self.agenda.waiting
        )  # fmt: skip
        self.display = Display(self.say, self.total, len(self.over_before), has_lines=make is not None)
        try:
            # Several processes that train one network must all do the same.
            watch = interruption() if share().of == 1 else nullcontext(Interruption())
            with watch as wish:
                while self.agenda.running or (self.agenda.waiting and not wish.is_wished):
                    if not wish.is_wished:
                        self._hand_out()
                    for event in self.executor.wait(_LOOK_EVERY):
                        self._hear(event)
            if self.agenda.waiting:
                raise KeyboardInterrupt
        finally:
            self.executor.close()
            self.display.close()
            self.claims.release_all()
        return self._summed_up()

    def _say_what_is_to_come(self) -> None:
        wanted = {settings.key() for settings in self.runs}
        first = [settings.title() for settings in self.to_do if settings.key() not in wanted]
        if first:
            words = first[0] if len(first) == 1 else f"{len(first)} networks"
            self.say(f"training {words} first, whose weights others score")
        for settings in self.needed_before:
            if settings.key() in self.failed and settings.key() not in wanted:
                error = self.failed[settings.key()]
                self.say(f"{settings.title()}, whose weights others score: failed before, {error}{_AGAIN}")
        count = len(self.over_before)
        if count > _FEW:
            failed = sum(settings.key() in self.failed for settings in self.over_before)
            self.say(f"{count - failed} of {self.total} networks are complete already, {failed} failed before")
            return
        for settings in self.over_before:
            place, error = self.store.folder(settings), self.failed.get(settings.key())
            if error is None:
                self.say(f"{settings.title()}: complete already, in {place} (--overwrite runs it again)")
            else:
                self.say(f"{settings.title()}: failed before, {error}{_AGAIN}\n  {place}")

    def _summed_up(self) -> int:
        failed = [settings for settings in self.runs if settings.key() in self.failed]
        if failed and len(self.runs) > 1:
            self.say(f"{len(failed)} of {len(self.runs)} networks failed; --retry_failed runs them again:")
            for settings in failed[:_FEW]:
                self.say(f"  {settings.title()}: {self.failed[settings.key()]}")
            if len(failed) > _FEW:
                self.say(f"  and {len(failed) - _FEW} more; --status lists them")
        return len(failed)

    def _hand_out(self) -> None:
        """Begin what can begin now."""
        places = self.executor.places()
        for place in places:
            for step in agree(lambda place=place: self._steps(place)):
                if step.place is None:
                    self._is_over(step.item, step.error)
                else:
                    self._begin(step.item, step.place)
        is_idle = bool(places and self.agenda.asked) and not self.agenda.running
        if is_idle and not self.has_said_that_it_waits:
            self.has_said_that_it_waits = True
            self.display.tell(f"another command is making the last {self.agenda.waiting} networks; waiting for it")

    def _steps(self, place: int) -> list[_Step]:
        """Find the next run for a place, and claim it. Of several processes, the first decides for all."""
        steps = []
        for item in self.agenda.candidates(place):
            if self.saves and not self.claims.take(item.name):
                self.agenda.met(item)
                continue
            # Another command may have made it since this one looked.
            state = self.store.state(item.settings) if self.saves else None
            if state is not None and state.marks != item.marks and state.status != "missing":
                self.claims.release(item.name)
                steps.append(_Step(item, error=state.error))
                continue
            return [*steps, _Step(item, place)]
        return steps

    def _is_over(self, item: Item, error: str) -> None:
        self.agenda.drop(item)
        if error:
            self.failed[item.name] = error
        words = f"FAILED, {error}" if error else "complete"
        self.display.end(item.name, f"{item.settings.title()}: {words}, by another command meanwhile")

    def _begin(self, item: Item, place: int) -> None:
        self.agenda.begin(item, place)
        settings = item.settings
        try:
            trained = self._trained(item)
        except UserError as error:
            self._end_failed(item, error)
            return
        keeps = self.saves and settings.machine.checkpoint_every != 0
        if self.saves and settings.run.overwrite and item.name not in self.begun:
            agree(lambda: self.store.forget_checkpoints(settings))
        self.begun.add(item.name)
        checkpoints = agree(lambda: self.store.checkpoints(settings)) if keeps else {}
        every = settings.machine.checkpoint_every if keeps else 0
        above = 1 if self.total > 1 and self.display.is_terminal else 0
        self.display.begin(item.name, settings.title())
        self.executor.begin(Job(item.name, settings, trained, checkpoints, every, above), place)

    def _trained(self, item: Item) -> Mapping[str, Tensor] | None:
        needed = self.ledger.trained_run(item.settings)
        if needed is None:
            return None
        if needed.key() in self.failed:
            raise UserError(f"it needs {needed.title()}, which failed: {self.failed[needed.key()]}")
        weights = self.trained.get(needed.key()) or agree(lambda: self.store.weights(needed))
        if weights is None:
            raise UserError(f"the trained weights of {needed.title()} cannot be read; run it again with --overwrite")
        return weights

    def _hear(self, event: Event) -> None:
        item = self.agenda.running[event.name]
        if isinstance(event, Told):
            self._listen(item, event)
        elif isinstance(event, Lost):
            self._lose(item, event.reason)
        elif isinstance(event, Broken):
            self._fail(item, event.error, event.trace)
        else:
            self._keep(item, event)

    def _listen(self, item: Item, told: Told) -> None:
        heard = told.heard
        if isinstance(heard, Progress):
            self.display.hear(item.name, heard)
        elif isinstance(heard, Said):
            self.display.warn(heard.text)
        elif isinstance(heard, Row):
            self._write_to_board(item, heard)
        elif isinstance(heard, Kept):
            try:
                self.store.keep_checkpoint(item.settings, heard.name, heard.content)
                self.attempts.pop(item.name, None)
            except UserError as error:
                if not self.lacks_checkpoints:
                    self.lacks_checkpoints = True
                    self.display.warn(f"{item.settings.title()} goes on without a checkpoint: {error}")

    def _write_to_board(self, item: Item, row: Row) -> None:
        if self.board is None or not is_first():
            return
        try:
            self.board.add(item.settings, row)
        except OSError as error:
            self.board = None
            self.display.warn(f"nothing more is written for TensorBoard: {error.strerror or error}")

    def _lose(self, item: Item, why: str) -> None:
        """A process died: its run is made again, unless it kills every one."""
        self.attempts[item.name] = self.attempts.get(item.name, 0) + 1
        if self.attempts[item.name] >= _ATTEMPTS:
            self._fail(item, UserError(f"{why}, {_ATTEMPTS} times"))
            return
        self.agenda.again(item.name)
        self._let_go(item)
        self.display.end(item.name, f"{item.settings.title()}: {why}; it will begin again", is_over=False)

    def _fail(self, item: Item, error: Exception, trace: str = "") -> None:
        # Of several processes that train one network, the others may not have met the error.
        if len(self.runs) == 1 or share().of > 1:
            raise error
        self._end_failed(item, error, trace)

    def _end_failed(self, item: Item, error: Exception, trace: str = "") -> None:
        self._write(item, Outcome.failed(reason(error), trace), 0.0, keeps_checkpoints=True)

    def _keep(self, item: Item, found: Finished) -> None:
        if item.name in self.needed and not self.saves:
            self.trained[item.name] = found.outcome.weights
        self._write(item, found.outcome, found.seconds)

    def _write(self, item: Item, outcome: Outcome, seconds: float, keeps_checkpoints: bool = False) -> None:
        settings, usual = item.settings, self.usual(item.settings)
        if self.saves:
            row = agree(lambda: self.store.write(settings, usual, outcome, seconds, keeps_checkpoints))
        else:
            row = summary_row(settings, usual, outcome)
        if outcome.error:
            self.failed[item.name] = outcome.error
        self.agenda.end(item.name)
        self._let_go(item)
        number = f"[{self.display.done + 1}/{self.total}] " if self.total > 1 and not self.display.is_terminal else ""
        self.display.end(item.name, number + self.finished(settings, row, outcome.layers))

    def _let_go(self, item: Item) -> None:
        if item.name in self.claims.held:
            self.claims.release(item.name)
