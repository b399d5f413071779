"""Announcements: what a campaign says before its first run and after its last."""

from collections.abc import Mapping, Sequence

from Utils.campaign.plan import PlannedRun
from Utils.campaign.run_state import RunStates
from Utils.results.predictions import has_predictions

_FEW = 10
"""Up to this many runs are named one by one."""

_RETRY = " (--retry_failed runs it again)"


def before(states: RunStates) -> list[str]:
    """The runs that are executed again or because others need them, and those that an earlier command finished."""
    failed = states.failures_before()
    unfinished = _damaged(states) + _missing_inputs(states) + _failed_inputs(states, failed)
    return unfinished + _finished(states, failed) + _without_predictions(states, failed)


def _damaged(states: RunStates) -> list[str]:
    """One line about the stored runs that are executed again because their files were damaged."""
    damages = [state.damage for run in states.to_do if (state := states.state(run)).damage]
    others = f", as are {len(damages) - 1} more that are damaged" if len(damages) > 1 else ""
    return [f"{damages[0]}; the run is executed again{others}"] if damages else []


def _missing_inputs(states: RunStates) -> list[str]:
    """One line about the runs that are executed only because others need them."""
    missing = [run for run in states.to_do if run.key not in states.plan.requested]
    if not missing:
        return []
    names = missing[0].title if len(missing) == 1 else f"{len(missing)} networks"
    return [f"training {names} first, {_reason(all(states.plan.is_only_scored(run) for run in missing))}"]


def _failed_inputs(states: RunStates, failed: Mapping[str, str]) -> list[str]:
    """A line about each run that others need and that an earlier command could not finish."""
    runs = (run for run in states.inputs_before if run.key in failed and run.key not in states.plan.requested)
    return [
        f"{run.title}, {_reason(states.plan.is_only_scored(run))}: failed before, {failed[run.key]}{_RETRY}"
        for run in runs
    ]


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


def _without_predictions(states: RunStates, failed: Mapping[str, str]) -> list[str]:
    """One line about complete runs that lack the predictions that are asked for."""
    lacking = [
        run
        for run in states.finished_before
        if run.settings.run.save_predictions
        and run.key not in failed
        and not has_predictions(states.store.folder(run.settings))
    ]
    if not lacking:
        return []
    who = "1 complete network has" if len(lacking) == 1 else f"{len(lacking)} complete networks have"
    return [f"{who} no predictions; --save_predictions --overwrite trains again and stores them"]


def failures(runs: Sequence[PlannedRun], failed: Mapping[str, str]) -> list[str]:
    """The failed runs of a campaign of several, with their reasons."""
    unfinished = [run for run in runs if run.key in failed]
    if not unfinished or len(runs) == 1:
        return []
    lines = [f"{len(unfinished)} of {len(runs)} networks failed; --retry_failed runs them again:"]
    lines += [f"  {run.title}: {failed[run.key]}" for run in unfinished[:_FEW]]
    if len(unfinished) > _FEW:
        lines.append(f"  and {len(unfinished) - _FEW} more; --status lists them")
    return lines
