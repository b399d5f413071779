"""Job queue: each run once, after its dense parent; runs that share scores go to one slot where possible."""

from hypothesis import given
from hypothesis import strategies as st

from Utils.campaign.queue import ATTEMPTS, Entry, JobQueue


def entry(name: str, group: str, needs: str | None = None) -> Entry:
    return Entry(name, group, frozenset() if needs is None else frozenset({needs}))


def queue_of(*entries: Entry) -> JobQueue:
    queue = JobQueue()
    queue.add(entries)
    return queue


def start(queue: JobQueue, slot: int) -> str | None:
    candidate = next(queue.candidates(slot), None)
    if candidate is None:
        return None
    queue.start(candidate, slot)
    return candidate.name


@given(
    entries=st.lists(st.tuples(st.integers(0, 4), st.booleans()), min_size=1, max_size=30),
    choices=st.lists(st.tuples(st.integers(0, 2), st.sampled_from(["end", "requeue"])), max_size=200),
)
def test_every_entry_is_started_until_it_finishes_and_never_twice_at_once(entries, choices):
    dense = entry("dense", "dense")
    queue = queue_of(
        dense,
        *(entry(str(n), f"group {group}", "dense" if needs else None) for n, (group, needs) in enumerate(entries)),
    )
    running: dict[int, str] = {}
    finished = []

    def step(slot: int, end: str) -> None:
        if slot in running:
            name = running.pop(slot)
            if end == "end":
                queue.finish(name)
                finished.append(name)
            else:
                queue.requeue(name)
            return
        name = start(queue, slot)
        if name is not None:
            assert name not in running.values() and name not in finished
            assert not queue.running[name].needs or "dense" in finished
            running[slot] = name

    for slot, end in choices:
        step(slot, end)
    for slot in (0, 1, 2) * (4 * len(entries) + 8):
        step(slot, "end")
    assert (
        sorted(finished) == sorted(["dense", *map(str, range(len(entries)))]) and not queue.waiting and not queue.groups
    )


class Command:
    """One of two commands on one results folder: its queue, and what it runs in two slots."""

    def __init__(self, entries: list[Entry], shared: "Shared") -> None:
        self.queue, self.shared = JobQueue(clock=lambda: shared.now), shared
        self.queue.add(entries)
        self.slots: dict[int, str] = {}

    def fill(self, slot: int) -> None:
        for candidate in self.queue.candidates(slot):
            if candidate.name in self.shared.locked:
                self.queue.postpone(candidate)
            elif candidate.name in self.shared.finished:
                self.queue.drop(candidate)
            else:
                assert candidate.needs <= self.shared.finished
                self.shared.locked.add(candidate.name)
                self.queue.start(candidate, slot)
                self.slots[slot] = candidate.name
                return

    def step(self, slot: int, event: str) -> None:
        if slot not in self.slots:
            self.fill(slot)
            return
        name = self.slots[slot]
        if event == "checkpoint":
            self.queue.note_progress(name)
            return
        del self.slots[slot]
        self.shared.locked.remove(name)
        if event == "death" and self.queue.note_death(name) is None:
            return
        assert name not in self.shared.finished, "finished twice"
        self.shared.finished.add(name)
        self.queue.finish(name)


class Shared:
    """What two commands see of each other, and the time."""

    def __init__(self) -> None:
        self.locked: set[str] = set()
        self.finished: set[str] = set()
        self.now = 0.0


EVENTS = st.sampled_from(["finish", "failure", "death", "checkpoint"])


@given(
    needs=st.lists(st.sets(st.integers(0, 30), max_size=3), min_size=1, max_size=25),
    groups=st.integers(1, 4),
    steps=st.lists(st.tuples(st.integers(0, 1), st.integers(0, 1), EVENTS, st.floats(0, 2)), max_size=150),
)
def test_two_commands_finish_every_run_once(needs, groups, steps):
    """Whatever the order in which runs finish, fail, lose their workers, and are held by the other command."""
    entries = [
        Entry(str(number), f"group {number % groups}", frozenset(str(other) for other in others if other < number))
        for number, others in enumerate(needs)
    ]
    shared = Shared()
    commands = [Command(entries, shared), Command(entries, shared)]
    for command, slot, event, seconds in steps:
        shared.now += seconds
        commands[command].step(slot, event)
    for _ in range(6 * len(entries) + 6):
        shared.now += 2
        for command in commands:
            command.step(0, "finish")
            command.step(1, "finish")
    assert shared.finished == {entry.name for entry in entries} and not shared.locked
    assert not any(command.queue.waiting or command.queue.running for command in commands)


def test_a_run_that_kills_its_workers_is_given_up():
    queue = queue_of(entry("a", "a"))
    for _ in range(ATTEMPTS - 1):
        assert start(queue, 0) == "a" and queue.note_death("a") is None
    assert start(queue, 0) == "a" and queue.note_death("a") == ATTEMPTS
    queue.note_progress("a")
    assert queue.note_death("a") is None, "a checkpoint gives it new attempts"


def test_slots_stay_with_their_group_and_start_groups_of_their_own():
    queue = queue_of(*(entry(f"{group}{n}", group) for group in "ab" for n in range(3)))
    assert [start(queue, 0), start(queue, 1)] == ["a0", "b0"]
    queue.finish("b0")
    assert start(queue, 1) == "b1"
    for name in ("a0", "b1"):
        queue.finish(name)
    assert [start(queue, 0), start(queue, 1)] == ["a1", "b2"]
    queue.finish("b2")
    assert start(queue, 1) == "a2", "helps with what is left"


def test_a_run_of_another_command_is_postponed():
    queue = queue_of(*(entry(f"{group}{n}", group) for group in "ab" for n in range(2)))
    first = next(queue.candidates(0))
    queue.postpone(first)
    assert [candidate.name for candidate in queue.candidates(0)] == ["b0", "b1", "a1"], (
        "its group comes last, from its end"
    )
    queue.postponed_at.clear()
    assert "a0" in [candidate.name for candidate in queue.candidates(0)]


def test_a_requeued_run_comes_after_all_others():
    queue = queue_of(entry("a0", "a"), entry("a1", "a"), entry("b0", "b"))
    assert start(queue, 0) == "a0"
    queue.requeue("a0")
    assert [candidate.name for candidate in queue.candidates(0)] == ["a1", "b0", "a0"]


def test_two_commands_share_a_group():
    """Each command has one slot, and sees at once which runs the other holds, as locks would show."""
    entries = [entry(str(number), "group") for number in range(20)]
    queues = [queue_of(*entries), queue_of(*entries)]
    locked: set[str] = set()
    started: list[list[str]] = [[], []]
    for _ in range(200):
        for mine, queue in zip(started, queues, strict=True):
            queue.postponed_at.clear()
            for name in list(queue.running):
                queue.finish(name)
            for candidate in list(queue.candidates(0)):
                if candidate.name in locked:
                    queue.postpone(candidate)
                    continue
                locked.add(candidate.name)
                queue.start(candidate, 0)
                mine.append(candidate.name)
                break
    assert len(locked) == 20 and min(map(len, started)) >= 9, started
