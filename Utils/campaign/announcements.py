"""Announcements: what a campaign says before its first run and after its last."""

from collections.abc import Mapping, Sequence

from Utils.campaign.plan import PlannedRun
from Utils.campaign.run_state import RunStates

_FEW = 10
"""Up to this many runs are named one by one."""

_RETRY = " (--retry_failed runs it again)"


def before(states: RunStates) -> list[str]:
    """The runs that are executed first because others need them, and the runs that an earlier command finished."""
    failed = states.failures_before()
    return _inputs(states, failed) + _finished(states, failed)


def _inputs(states: RunStates, failed: Mapping[str, str]) -> list[str]:
    requested = states.plan.requested
    missing = [run for run in states.to_do if run.key not in requested]
    lines = []
    if missing:
        names = missing[0].title if len(missing) == 1 else f"{len(missing)} networks"
        reason = _reason(all(states.plan.is_only_scored(run) for run in missing))
        lines.append(f"training {names} first, {reason}")
    for run in states.inputs_before:
        if run.key in failed and run.key not in requested:
            reason = _reason(states.plan.is_only_scored(run))
            lines.append(f"{run.title}, {reason}: failed before, {failed[run.key]}{_RETRY}")
    return lines


def _reason(is_only_scored: bool) -> str:
    return "whose weights others score" if is_only_scored else "which others need"


def _finished(states: RunStates, failed: Mapping[str, str]) -> list[str]:
    runs = states.finished_before
    if len(runs) > _FEW:
        total, failures = len(runs) + len(states.to_do), sum(run.key in failed for run in runs)
        return [f"{len(runs) - failures} of {total} networks are complete already, {failures} failed before"]
    lines = []
    for run in runs:
        folder = states.store.folder(run.settings)
        if run.key in failed:
            lines.append(f"{run.title}: failed before, {failed[run.key]}{_RETRY}\n  {folder}")
        else:
            lines.append(f"{run.title}: complete already, in {folder} (--overwrite runs it again)")
    return lines


def failures(runs: Sequence[PlannedRun], failed: Mapping[str, str]) -> list[str]:
    """The failed runs of a campaign of several, with their reasons."""
    losers = [run for run in runs if run.key in failed]
    if not losers or len(runs) == 1:
        return []
    lines = [f"{len(losers)} of {len(runs)} networks failed; --retry_failed runs them again:"]
    lines += [f"  {run.title}: {failed[run.key]}" for run in losers[:_FEW]]
    if len(losers) > _FEW:
        lines.append(f"  and {len(losers) - _FEW} more; --status lists them")
    return lines
