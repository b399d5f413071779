"""What of a request is done, and what is left?"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

from Experiments.planning.estimate import estimate
from Utils.campaign.locks import RunLocks
from Utils.campaign.run_state import RunStates
from Utils.config.settings import Settings

_FEW = 20
"""Networks that are listed one by one."""

_KIND = ("architecture", "data", "pruner", "type")
_STATES = ("done", "running", "failed", "missing")


def status(states: RunStates, runs: Sequence[Settings]) -> str:
    """A table of how many networks are done, running, failed and missing, and what is to be known of some.

    Those that are trained first for others to score count as well.
    """
    every = (states.dense_parents_of(runs) | {run.key(): run for run in runs}).values()
    owners = RunLocks(states.store.path).owners()
    counts: dict[tuple[str, ...], Counter[str]] = defaultdict(Counter)
    failed, running = [], []
    for settings in every:
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
    more = [f"failed: {len(failed) - _FEW} more"] if len(failed) > _FEW else []
    if not states.store.path.is_dir():
        more.append(f"there is no folder {states.store.path} yet (--out_path)")
    return "\n".join([*_columns(lines), *running[:_FEW], *failed[:_FEW], *more])


def dry_run(states: RunStates, runs: Sequence[Settings], found: Sequence[Settings]) -> str:
    """What would be done, with an estimate of time and disk; `found` are the runs whose data is there."""
    to_do = states.to_do(runs)
    wanted = {settings.key() for settings in runs}
    first = [settings for settings in to_do if settings.key() not in wanted]
    left = {settings.key() for settings in to_do}
    done = [settings for settings in runs if settings.key() not in left]
    failed = sum(states.state(settings).status == "failed" for settings in done)
    lines = _listed(states, runs, first, left) if len(runs) + len(first) <= _FEW else _counted(runs, first, left)
    over = f"{len(done) - failed} complete, " + (f"{failed} failed (--retry_failed), " if failed else "")
    lines.append(f"{over}{len(to_do)} to do; nothing was run (--dry_run)")
    if to_do:
        there = {settings.run.data for settings in found}
        lines.append(estimate(states, [settings for settings in to_do if settings.run.data in there], len(to_do)))
    return "\n".join(lines)


def _listed(states: RunStates, runs: Sequence[Settings], first: Sequence[Settings], left: Iterable[str]) -> list[str]:
    lines = [f"train     {run.title()}  {states.store.folder(run)}  (scored by others)" for run in first]
    for settings in runs:
        state = "run" if settings.key() in left else states.state(settings).status
        lines.append(f"{state:9} {settings.title()}  {states.store.folder(settings)}")
    return lines


def _counted(runs: Sequence[Settings], first: Sequence[Settings], left: Iterable[str]) -> list[str]:
    counts: dict[tuple[str, ...], list[int]] = defaultdict(lambda: [0, 0])
    for settings in (*first, *runs):
        count = counts[_kind(settings)]
        count[0] += 1
        count[1] += settings.key() in left
    rows = [(*group, str(whole), str(to_do)) for group, (whole, to_do) in counts.items()]
    return _columns([(*_KIND, "networks", "to do"), *rows])


def _kind(settings: Settings) -> tuple[str, ...]:
    """The networks that a line of a table counts together."""
    run, pruning = settings.run, settings.pruning
    return run.architecture, str(run.data), pruning.pruner, pruning.pruning_type


def _columns(rows: Sequence[tuple[str, ...]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.ljust(width) if index < len(_KIND) else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
