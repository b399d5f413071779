"""Which run is made next, by whom?

Runs whose scores are the same are a group. A process stays with its group as long as there is something to do, so that
scores are computed once, and begins one that nobody is at; where there is none, it helps with the largest.
"""

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

from Utils.config.settings import Settings

_ASK_AGAIN = 1.0
"""Seconds after which a run that another process is making is asked for again."""


@dataclass(frozen=True)
class Entry:
    """A run to be made."""

    settings: Settings
    name: str
    group: str
    needs: str | None = None
    """The run whose trained weights it scores."""
    fingerprint: tuple[int, int] | None = None
    """Of what was kept of it before."""


@dataclass
class _Group:
    entries: dict[str, Entry] = field(default_factory=dict)
    """Waiting, in order."""
    running: int = 0
    contended_at: float = float("-inf")
    """When another campaign was last met here."""


@dataclass
class JobQueue:
    """The runs that are to be made, in order."""

    groups: dict[str, _Group] = field(default_factory=dict)
    finished: set[str] = field(default_factory=set)
    """Runs that need not be waited for."""
    running: dict[str, Entry] = field(default_factory=dict)
    last_group: dict[int, str] = field(default_factory=dict)
    """The group that each place was last at."""
    postponed_at: dict[str, float] = field(default_factory=dict)

    def add(self, items: Iterable[Entry]) -> None:
        """Put runs on the agenda."""
        for item in items:
            self.groups.setdefault(item.group, _Group()).entries[item.name] = item

    @property
    def waiting(self) -> int:
        """The number of runs that nobody has begun here."""
        return sum(len(group.entries) for group in self.groups.values())

    def candidates(self, place: int) -> Iterator[Entry]:
        """What a place could begin now, the best first. `met` and `begin` may be called meanwhile."""
        now, offered = time.monotonic(), set[str]()
        for group, is_first_come in self._groups(place, now):
            items = list(group.entries.values())
            for item in items if is_first_come else reversed(items):
                if item.needs is not None and item.needs not in self.finished:
                    continue
                is_new = (
                    item.name not in offered and now - self.postponed_at.get(item.name, float("-inf")) >= _ASK_AGAIN
                )
                if is_new:
                    offered.add(item.name)
                    yield item
                if is_first_come and now - group.contended_at < _ASK_AGAIN:
                    break  # another campaign is at this group: rather look for one of its own

    def _groups(self, place: int, now: float) -> Iterator[tuple[_Group, bool]]:
        """Groups with something to do, and whether to take their first runs or, helping, their last."""
        waiting = {name: group for name, group in self.groups.items() if group.entries}
        own = waiting.pop(self.last_group.get(place, ""), None)
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

    def postpone(self, item: Entry) -> None:
        """Another campaign is making a run."""
        self.postponed_at[item.name] = self.groups[item.group].contended_at = time.monotonic()

    def start(self, item: Entry, place: int) -> None:
        """A place has begun a run."""
        group = self.groups[item.group]
        del group.entries[item.name]
        group.running += 1
        self.running[item.name] = item
        self.last_group[place] = item.group

    def finish(self, name: str) -> None:
        """A run that was begun is over, in one way or the other."""
        item = self.running.pop(name)
        self.groups[item.group].running -= 1
        self._forget(item)

    def drop(self, item: Entry) -> None:
        """A run that was waiting is over."""
        del self.groups[item.group].entries[item.name]
        self._forget(item)

    def requeue(self, name: str) -> None:
        """A run that was begun waits again, behind all others."""
        item = self.running[name]
        self.finish(name)
        self.finished.discard(name)
        alone = replace(item, group=f"{name} again")
        self.groups[alone.group] = _Group({name: alone})

    def _forget(self, item: Entry) -> None:
        self.finished.add(item.name)
        self.postponed_at.pop(item.name, None)
        if not self.groups[item.group].entries and not self.groups[item.group].running:
            del self.groups[item.group]
