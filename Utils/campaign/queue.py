"""Job queue: hands out runs, one per free worker. It touches no file and no process.

Runs that share scores form a group. A worker stays with its group until the group is empty, so that scores are computed
once. Then it takes a group without a worker, and if there is none, it helps with the largest group.
"""

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace

_ASK_AGAIN = 1.0
"""Seconds until a run held by another process is offered again."""


ATTEMPTS = 5
"""Give a run up after this many workers died on it without a new checkpoint, or its results vanished as often."""


@dataclass(frozen=True)
class Entry:
    """A run to execute."""

    name: str
    """The run key."""
    group: str
    needs: frozenset[str] = frozenset()
    """Keys of the runs that must be finished first."""


@dataclass
class _Group:
    entries: dict[str, Entry] = field(default_factory=dict)
    """Waiting entries, in order."""
    running: int = 0
    contended_at: float = float("-inf")
    """When another campaign was last found working on this group."""


@dataclass
class JobQueue:
    """The unfinished runs of a campaign, in order."""

    groups: dict[str, _Group] = field(default_factory=dict)
    finished: set[str] = field(default_factory=set)
    """Keys of runs that no other run has to wait for."""
    running: dict[str, Entry] = field(default_factory=dict)
    last_group: dict[int, str] = field(default_factory=dict)
    """The group that each slot last worked on."""
    postponed_at: dict[str, float] = field(default_factory=dict)
    deaths: dict[str, int] = field(default_factory=dict)
    """Workers that died on a run since its last checkpoint."""
    repeats: dict[str, int] = field(default_factory=dict)
    """How often a finished run was executed again."""
    clock: Callable[[], float] = time.monotonic

    def add(self, entries: Iterable[Entry]) -> None:
        """Append entries."""
        for entry in entries:
            self.groups.setdefault(entry.group, _Group()).entries[entry.name] = entry

    @property
    def waiting(self) -> int:
        """The number of entries that have not started."""
        return sum(len(group.entries) for group in self.groups.values())

    def candidates(self, slot: int) -> Iterator[Entry]:
        """Entries that a slot can start now, best first. `postpone` and `start` may be called during iteration."""
        now, offered = self.clock(), set[str]()
        for group, is_first_come in self._groups(slot, now):
            entries = list(group.entries.values())
            for entry in entries if is_first_come else reversed(entries):
                if not entry.needs <= self.finished:
                    continue
                is_new = (
                    entry.name not in offered and now - self.postponed_at.get(entry.name, float("-inf")) >= _ASK_AGAIN
                )
                if is_new:
                    offered.add(entry.name)
                    yield entry
                if is_first_come and now - group.contended_at < _ASK_AGAIN:
                    break  # another campaign works on this group: look for a group of its own

    def _groups(self, slot: int, now: float) -> Iterator[tuple[_Group, bool]]:
        """Groups with waiting entries, and whether to take their first entry or, when helping, their last."""
        waiting = {name: group for name, group in self.groups.items() if group.entries}
        own = waiting.pop(self.last_group.get(slot, ""), None)
        if own is not None and now - own.contended_at >= _ASK_AGAIN:
            yield own, True
        busy = [] if own is None else [own]
        for group in waiting.values():
            if group.running or now - group.contended_at < _ASK_AGAIN:
                busy.append(group)
            else:
                yield group, True
        for group in sorted(busy, key=lambda group: -len(group.entries)):
            yield group, False

    def postpone(self, entry: Entry) -> None:
        """Note that another campaign holds a run."""
        self.postponed_at[entry.name] = self.groups[entry.group].contended_at = self.clock()

    def start(self, entry: Entry, slot: int) -> None:
        """Move an entry to the running ones."""
        group = self.groups[entry.group]
        del group.entries[entry.name]
        group.running += 1
        self.running[entry.name] = entry
        self.last_group[slot] = entry.group

    def finish(self, name: str) -> None:
        """Remove a running entry that has finished or failed."""
        entry = self.running.pop(name)
        self.groups[entry.group].running -= 1
        self._forget(entry)

    def drop(self, entry: Entry) -> None:
        """Remove a waiting entry that another campaign has finished."""
        del self.groups[entry.group].entries[entry.name]
        self._forget(entry)

    def requeue(self, name: str) -> None:
        """Put a running entry back, behind all others."""
        entry = self.running[name]
        self.finish(name)
        self.finished.discard(name)
        alone = replace(entry, group=f"{name} requeued")
        self.groups[alone.group] = _Group({name: alone})

    def repeat(self, need: Entry, name: str) -> bool:
        """Requeue a running entry and a finished one that it needs; False if that was repeated too often."""
        self.repeats[need.name] = self.repeats.get(need.name, 0) + 1
        if self.repeats[need.name] >= ATTEMPTS:
            return False
        self.requeue(name)
        self.finished.discard(need.name)
        self.add([need])
        # The inputs of the repeated run itself count as finished until they are found missing, too.
        waiting = {entry for group in self.groups.values() for entry in group.entries}
        self.finished |= need.needs - waiting - self.running.keys()
        return True

    def note_progress(self, name: str) -> None:
        """A run has a new checkpoint: earlier deaths of its workers do not count."""
        self.deaths.pop(name, None)

    def note_death(self, name: str) -> int | None:
        """Requeue the run of a worker that died; instead return the number of deaths if these are too many."""
        self.deaths[name] = self.deaths.get(name, 0) + 1
        if self.deaths[name] >= ATTEMPTS:
            return self.deaths[name]
        self.requeue(name)
        return None

    def _forget(self, entry: Entry) -> None:
        self.finished.add(entry.name)
        self.postponed_at.pop(entry.name, None)
        if not self.groups[entry.group].entries and not self.groups[entry.group].running:
            del self.groups[entry.group]
