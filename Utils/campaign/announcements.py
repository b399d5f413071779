"""Announcements: what a campaign says before its first run and after its last."""

from collections.abc import Mapping, Sequence

from Utils.config.settings import Settings
from Utils.results.store import Store

_FEW = 10
"""Up to this many runs are named one by one."""

_RETRY = " (--retry_failed runs it again)"


def dense_parents(
    missing: Sequence[Settings], stored: Sequence[Settings], wanted: set[str], failed: Mapping[str, str]
) -> list[str]:
    """One line for the dense networks that are trained first, and one for each stored one that failed.

    `wanted` holds the keys of the requested runs, which are announced on their own. `failed` maps keys to reasons.
    """
    lines = []
    if missing:
        words = missing[0].title() if len(missing) == 1 else f"{len(missing)} networks"
        lines.append(f"training {words} first, whose weights others score")
    for settings in stored:
        if settings.key() in failed and settings.key() not in wanted:
            reason = failed[settings.key()]
            lines.append(f"{settings.title()}, whose weights others score: failed before, {reason}{_RETRY}")
    return lines


def finished_before(runs: Sequence[Settings], total: int, failed: Mapping[str, str], store: Store) -> list[str]:
    """One line for each run that an earlier command finished, or their number if there are many."""
    if len(runs) > _FEW:
        failures = sum(settings.key() in failed for settings in runs)
        return [f"{len(runs) - failures} of {total} networks are complete already, {failures} failed before"]
    lines = []
    for settings in runs:
        folder, reason = store.folder(settings), failed.get(settings.key())
        if reason is None:
            lines.append(f"{settings.title()}: complete already, in {folder} (--overwrite runs it again)")
        else:
            lines.append(f"{settings.title()}: failed before, {reason}{_RETRY}\n  {folder}")
    return lines


def failures(runs: Sequence[Settings], failed: Mapping[str, str]) -> list[str]:
    """The failed runs of a campaign of several, with their reasons."""
    losers = [settings for settings in runs if settings.key() in failed]
    if not losers or len(runs) == 1:
        return []
    lines = [f"{len(losers)} of {len(runs)} networks failed; --retry_failed runs them again:"]
    lines += [f"  {settings.title()}: {failed[settings.key()]}" for settings in losers[:_FEW]]
    if len(losers) > _FEW:
        lines.append(f"  and {len(losers) - _FEW} more; --status lists them")
    return lines
