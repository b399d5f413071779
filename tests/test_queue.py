"""Every run is handed out once, after the one that it needs, and equal scores are left to one place where possible."""

from hypothesis import given
from hypothesis import strategies as st

from Utils.campaign.queue import Entry, JobQueue
from Utils.config.settings import Settings


def item(name: str, group: str, needs: str | None = None) -> Entry:
    return Entry(Settings(), name, group, needs)


def agenda_of(*items: Entry) -> JobQueue:
    agenda = JobQueue()
    agenda.add(items)
    return agenda


def begin(agenda: JobQueue, place: int) -> str | None:
    found = next(agenda.candidates(place), None)
    if found is None:
        return None
    agenda.start(found, place)
    return found.name


@given(
    items=st.lists(st.tuples(st.integers(0, 4), st.booleans()), min_size=1, max_size=30),
    choices=st.lists(st.tuples(st.integers(0, 2), st.sampled_from(["end", "again"])), max_size=200),
)
def test_each_is_begun_until_it_is_over_and_none_twice_at_once(items, choices):
    needed = item("dense", "dense")
    agenda = agenda_of(
        needed, *(item(str(n), f"group {group}", "dense" if needs else None) for n, (group, needs) in enumerate(items))
    )
    running: dict[int, str] = {}
    over = []

    def step(place: int, end: str) -> None:
        if place in running:
            name = running.pop(place)
            if end == "end":
                agenda.finish(name)
                over.append(name)
            else:
                agenda.requeue(name)
            return
        name = begin(agenda, place)
        if name is not None:
            assert name not in running.values() and name not in over
            assert agenda.running[name].needs is None or "dense" in over
            running[place] = name

    for place, end in choices:
        step(place, end)
    for place in (0, 1, 2) * (4 * len(items) + 8):
        step(place, "end")
    assert sorted(over) == sorted(["dense", *map(str, range(len(items)))]) and not agenda.waiting and not agenda.groups


def test_places_stay_with_their_group_and_begin_groups_of_their_own():
    agenda = agenda_of(*(item(f"{group}{n}", group) for group in "ab" for n in range(3)))
    assert [begin(agenda, 0), begin(agenda, 1)] == ["a0", "b0"]
    agenda.finish("b0")
    assert begin(agenda, 1) == "b1"
    for name in ("a0", "b1"):
        agenda.finish(name)
    assert [begin(agenda, 0), begin(agenda, 1)] == ["a1", "b2"]
    agenda.finish("b2")
    assert begin(agenda, 1) == "a2", "helps with what is left"


def test_what_another_command_makes_is_asked_for_later():
    agenda = agenda_of(*(item(f"{group}{n}", group) for group in "ab" for n in range(2)))
    first = next(agenda.candidates(0))
    agenda.postpone(first)
    assert [found.name for found in agenda.candidates(0)] == ["b0", "b1", "a1"], "its group comes last, from its end"
    agenda.postponed_at.clear()
    assert "a0" in [found.name for found in agenda.candidates(0)]


def test_a_run_whose_process_died_comes_after_all_others():
    agenda = agenda_of(item("a0", "a"), item("a1", "a"), item("b0", "b"))
    assert begin(agenda, 0) == "a0"
    agenda.requeue("a0")
    assert [found.name for found in agenda.candidates(0)] == ["a1", "b0", "a0"]


def test_two_commands_share_a_group():
    """Each with one place; both are told at once of what the other makes, as claims would."""
    items = [item(str(number), "group") for number in range(20)]
    agendas = [agenda_of(*items), agenda_of(*items)]
    claimed: set[str] = set()
    made: list[list[str]] = [[], []]
    for _ in range(200):
        for mine, agenda in zip(made, agendas, strict=True):
            agenda.postponed_at.clear()
            for name in list(agenda.running):
                agenda.finish(name)
            for found in list(agenda.candidates(0)):
                if found.name in claimed:
                    agenda.postpone(found)
                    continue
                claimed.add(found.name)
                agenda.start(found, 0)
                mine.append(found.name)
                break
    assert len(claimed) == 20 and min(map(len, made)) >= 9, made
