"""Status of a request: the runs that are done and the runs that are left."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

from Experiments.planning.estimate import estimate
from Utils.campaign.locks import RunLocks
from Utils.campaign.run_state import RunStates
from Utils.config.settings import Settings

_FEW = 20
"""Largest number of networks that are listed one by one."""

_KIND = ("architecture", "data", "pruner", "type")
_STATES = ("done", "running", "failed", "missing")


def status(states: RunStates, runs: Sequence[Settings]) -> str:
    """A table of the numbers of networks that are done, running, failed and missing, and a list of some of them.

    Dense parents are counted, too.
    """
    all_runs = (states.dense_parents_of(runs) | {run.key(): run for run in runs}).values()
    owners = RunLocks(states.store.path).owners()
    counts: dict[tuple[str, ...], Counter[str]] = defaultdict(Counter)
    failed, running = [], []
    for settings in all_runs:
        name, stored = settings.key(), states.state(settings)
        state = "done" if stored.status == "complete" else stored.status
        if name in owners and state != "done":
            state = "running"
            running.append(f"running: {settings.title()} ({owners[name]})")
        elif state == "failed":
            failed.append(f"failed: {settings.title()}: {stored.error}")
        counts[_kind(settings)][state] += 1
    lines: list[tuple[str, ...]] = [(*_KIND, *_STATES, "all")]
    for group, count in counts.items():
        lines.append((*group, *(str(count[state] or "") for state in _STATES), str(count.total())))
    total: Counter[str] = sum(counts.values(), Counter())
    lines.append(("all", *[""] * (len(_KIND) - 1), *(str(total[state]) for state in _STATES), str(total.total())))
    notes = [f"failed: {len(failed) - _FEW} more"] if len(failed) > _FEW else []
    if not states.store.path.is_dir():
        notes.append(f"there is no folder {states.store.path} yet (--out_path)")
    return "\n".join([*_columns(lines), *running[:_FEW], *failed[:_FEW], *notes])


def dry_run(states: RunStates, runs: Sequence[Settings], available: Sequence[Settings]) -> str:
    """The runs to execute, with an estimate of time and disk; `available` are the runs whose data is available."""
    to_do = states.to_do(runs)
    requested = {settings.key() for settings in runs}
    parents = [settings for settings in to_do if settings.key() not in requested]
    left = {settings.key() for settings in to_do}
    done = [settings for settings in runs if settings.key() not in left]
    failed = sum(states.state(settings).status == "failed" for settings in done)
    lines = _listed(states, runs, parents, left) if len(runs) + len(parents) <= _FEW else _counted(runs, parents, left)
    finished = f"{len(done) - failed} complete, " + (f"{failed} failed (--retry_failed), " if failed else "")
    lines.append(f"{finished}{len(to_do)} to do; nothing was run (--dry_run)")
    if to_do:
        names = {settings.run.data for settings in available}
        lines.append(estimate(states, [settings for settings in to_do if settings.run.data in names], len(to_do)))
    return "\n".join(lines)


def _listed(states: RunStates, runs: Sequence[Settings], parents: Sequence[Settings], left: Iterable[str]) -> list[str]:
    """One line for each run; `left` are the keys of runs to execute."""
    lines = [f"train     {run.title()}  {states.store.folder(run)}  (scored by other runs)" for run in parents]
    for settings in runs:
        state = "run" if settings.key() in left else states.state(settings).status
        lines.append(f"{state:9} {settings.title()}  {states.store.folder(settings)}")
    return lines


def _counted(runs: Sequence[Settings], parents: Sequence[Settings], left: Iterable[str]) -> list[str]:
    """One line for each kind of run; `left` are the keys of runs to execute."""
    counts: dict[tuple[str, ...], list[int]] = defaultdict(lambda: [0, 0])
    for settings in (*parents, *runs):
        count = counts[_kind(settings)]
        count[0] += 1
        count[1] += settings.key() in left
    rows = [(*group, str(whole), str(to_do)) for group, (whole, to_do) in counts.items()]
    return _columns([(*_KIND, "networks", "to do"), *rows])


def _kind(settings: Settings) -> tuple[str, ...]:
    """The columns that identify one line of a table."""
    run, pruning = settings.run, settings.pruning
    return run.architecture, str(run.data), pruning.pruner, pruning.pruning_type


def _columns(rows: Sequence[tuple[str, ...]]) -> list[str]:
    """Rows as aligned text, names on the left and numbers on the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.ljust(width) if index < len(_KIND) else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
