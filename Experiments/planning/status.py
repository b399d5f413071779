"""Status of a request: the runs that are done and the runs that are left."""

from collections import Counter, defaultdict
from collections.abc import Container, Iterable, Sequence

from Experiments.planning.estimate import estimate
from Utils.campaign.locks import RunLocks
from Utils.campaign.plan import Plan, PlannedRun
from Utils.campaign.run_state import RunStates
from Utils.data.dataset import is_found
from Utils.results.store import Store

_FEW = 20
"""Largest number of networks that are listed one by one."""

_KIND = ("architecture", "data", "pruner", "type")
_STATES = ("done", "running", "failed", "missing")


def status(plan: Plan, store: Store) -> str:
    """A table of the numbers of networks that are done, running, failed and missing, and a list of some of them.

    Networks that others need are counted, too.
    """
    states, owners = RunStates(plan, store), RunLocks(store.path).owners()
    counts: dict[tuple[str, ...], Counter[str]] = defaultdict(Counter)
    failed, running = [], []
    for run in plan.by_key.values():
        stored = states.state(run)
        state = "done" if stored.status == "complete" else stored.status
        if run.key in owners and state != "done":
            state = "running"
            running.append(f"running: {run.title} ({owners[run.key]})")
        elif state == "failed":
            failed.append(f"failed: {run.title}: {stored.error}")
        counts[_kind(run)][state] += 1
    lines: list[tuple[str, ...]] = [(*_KIND, *_STATES, "all")]
    for group, count in counts.items():
        lines.append((*group, *(str(count[state] or "") for state in _STATES), str(count.total())))
    total: Counter[str] = sum(counts.values(), Counter())
    lines.append(("all", *[""] * (len(_KIND) - 1), *(str(total[state]) for state in _STATES), str(total.total())))
    notes = [f"failed: {len(failed) - _FEW} more"] if len(failed) > _FEW else []
    if not store.path.is_dir():
        notes.append(f"there is no folder {store.path} yet (--out_path)")
    return "\n".join([*_columns(lines), *running[:_FEW], *failed[:_FEW], *notes])


def dry_run(plan: Plan, store: Store) -> str:
    """The runs to execute, with an estimate of time and disk. Raises `UserError` if a run could not start."""
    states = RunStates(plan, store)
    to_do = states.to_do
    plan.check([run for run in plan.runs if _has_data(run)])
    inputs = [run for run in to_do if run.key not in plan.requested]
    left = {run.key for run in to_do}
    is_short = len(plan.runs) + len(inputs) <= _FEW
    lines = _listed(states, inputs, left) if is_short else _counted((*inputs, *plan.runs), left)
    failed = sum(states.state(run).status == "failed" for run in states.finished_before)
    finished = f"{len(states.finished_before) - failed} complete, "
    finished += f"{failed} failed (--retry_failed), " if failed else ""
    lines.append(f"{finished}{len(to_do)} to do; nothing was run (--dry_run)")
    if to_do:
        lines.append(estimate(store, [run for run in to_do if _has_data(run)], len(to_do)))
    return "\n".join(lines)


def _has_data(run: PlannedRun) -> bool:
    return is_found(run.settings.run.data or "", run.settings.run.path_to_data)


def _listed(states: RunStates, inputs: Iterable[PlannedRun], left: Container[str]) -> list[str]:
    """One line for each run; `left` has the keys of runs to execute."""
    folder = states.store.folder
    lines = []
    for run in inputs:
        verb = "scored" if states.plan.is_only_scored(run) else "needed"
        lines.append(f"train     {run.title}  {folder(run.settings)}  ({verb} by other runs)")
    for run in states.plan.runs:
        state = "run" if run.key in left else states.state(run).status
        lines.append(f"{state:9} {run.title}  {folder(run.settings)}")
    return lines


def _counted(runs: Iterable[PlannedRun], left: Container[str]) -> list[str]:
    """One line for each kind of run; `left` has the keys of runs to execute."""
    counts: dict[tuple[str, ...], list[int]] = defaultdict(lambda: [0, 0])
    for run in runs:
        count = counts[_kind(run)]
        count[0] += 1
        count[1] += run.key in left
    rows = [(*group, str(whole), str(to_do)) for group, (whole, to_do) in counts.items()]
    return _columns([(*_KIND, "networks", "to do"), *rows])


def _kind(planned: PlannedRun) -> tuple[str, ...]:
    """The columns that identify one line of a table."""
    run, pruning = planned.settings.run, planned.settings.pruning
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
