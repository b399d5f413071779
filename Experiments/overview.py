"""What of a request is done, what is left, and how long will that take?"""

import json
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median

import pandas as pd
import torch.nn.functional as F

from Experiments.network import start
from Layers import Masks
from Utils.claims import Claims
from Utils.errors import UserError
from Utils.launch import Launcher
from Utils.machine import cores
from Utils.results import find_run, load_summaries
from Utils.settings import Settings
from Utils.streaming import Files
from Utils.training import make_optimizer

_FEW = 20
"""Networks that are listed one by one."""

_KIND = ("architecture", "data", "pruner", "type")
_STATES = ("done", "running", "failed", "missing")
_STEPS = 3
"""Steps that are timed where no finished run says how long one takes."""

_SOME = 20
"""Finished networks that are looked at closely."""

_TABLES = 20_000
"""Bytes of a run's tables and its `run.json`, about."""


def status(launcher: Launcher, runs: Sequence[Settings]) -> str:
    """A table of how many networks are done, running, failed and missing, and what is to be known of some."""
    owners = Claims(launcher.store.path).owners()
    counts: dict[tuple[str, ...], Counter[str]] = defaultdict(Counter)
    failed, running = [], []
    for settings in runs:
        name, found = settings.key(), launcher.state(settings)
        state = "done" if found.status == "complete" else found.status
        if name in owners and state != "done":
            state = "running"
            running.append(f"running: {settings.title()} ({owners[name]})")
        elif state == "failed":
            failed.append(f"failed: {settings.title()}: {found.error}")
        counts[_kind(settings)][state] += 1
    lines: list[tuple[str, ...]] = [(*_KIND, *_STATES, "all")]
    for group, states in counts.items():
        lines.append((*group, *(str(states[state] or "") for state in _STATES), str(states.total())))
    total: Counter[str] = sum(counts.values(), Counter())
    lines.append(("all", *[""] * (len(_KIND) - 1), *(str(total[state]) for state in _STATES), str(total.total())))
    more = [f"failed: {len(failed) - _FEW} more"] if len(failed) > _FEW else []
    return "\n".join([*_columns(lines), *running[:_FEW], *failed[:_FEW], *more])


def dry_run(launcher: Launcher, runs: Sequence[Settings], found: Sequence[Settings]) -> str:
    """What would be done, with an estimate of time and disk; `found` are the runs whose data is there."""
    to_do = launcher.to_do(runs)
    wanted = {settings.key() for settings in runs}
    first = [settings for settings in to_do if settings.key() not in wanted]
    left = {settings.key() for settings in to_do}
    done = [settings for settings in runs if settings.key() not in left]
    failed = sum(launcher.state(settings).status == "failed" for settings in done)
    lines = _listed(launcher, runs, first, left) if len(runs) + len(first) <= _FEW else _counted(runs, first, left)
    over = f"{len(done) - failed} complete, " + (f"{failed} failed (--retry_failed), " if failed else "")
    lines.append(f"{over}{len(to_do)} to do; nothing was run (--dry_run)")
    if to_do:
        there = {settings.run.data for settings in found}
        lines.append(_estimate(launcher, [settings for settings in to_do if settings.run.data in there], len(to_do)))
    return "\n".join(lines)


def _listed(launcher: Launcher, runs: Sequence[Settings], first: Sequence[Settings], left: Iterable[str]) -> list[str]:
    lines = [f"train     {run.title()}  {launcher.store.folder(run)}  (scored by others)" for run in first]
    for settings in runs:
        state = "run" if settings.key() in left else launcher.state(settings).status
        lines.append(f"{state:9} {settings.title()}  {launcher.store.folder(settings)}")
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


@dataclass(frozen=True)
class _Speed:
    """What networks of one kind take."""

    step: float
    """Seconds of an iteration, tests included."""
    rest: float
    """Seconds of pruning, measuring and writing."""
    bytes: float
    source: str


def _estimate(launcher: Launcher, runs: Sequence[Settings], count: int) -> str:
    if not runs:
        return "no estimate: the data is not here yet"
    summaries = load_summaries(launcher.store.path)
    speeds: dict[tuple, _Speed] = {}
    seconds, size = 0.0, 0.0
    for settings in runs:
        run, training = settings.run, settings.training
        kind = run.architecture, run.data, training.batch_size, settings.machine.precision
        if kind not in speeds:
            try:
                speeds[kind] = _from_results(launcher, summaries, settings) or _from_steps(settings)
            except UserError as error:
                return f"no estimate: {error}"
        speed = speeds[kind]
        steps = (training.iterations or 0) if training.train else 0
        seconds += speed.rest + speed.step * steps * _trainings(settings)
        size += speed.bytes
    machine = runs[0].machine
    workers = machine.workers or 1
    if machine.launcher == "local":
        # More processes than cores wait for each other.
        workers = min(workers, max(1, cores() // max(settings.machine.threads or 1 for settings in runs)))
    sources = " and ".join(sorted({speed.source for speed in speeds.values()}))
    rest = f"; {count - len(runs)} more whose data is not here yet" if count > len(runs) else ""
    times = _time(seconds / workers) + (f" with {workers} at a time" if workers > 1 else "")
    return f"about {times} and {_size(size)} on disk, from {sources}{rest}"


def _trainings(settings: Settings) -> int:
    """How often a run trains."""
    levels = getattr(settings.own, "levels", 0)
    return 1 + levels * (2 if settings.pruning.reinitialize else 1)


def _from_results(launcher: Launcher, summaries: pd.DataFrame, settings: Settings) -> _Speed | None:
    """What finished networks of the same kind took."""
    run = settings.run
    alike = summaries[(summaries["architecture"] == run.architecture) & (summaries["data"] == run.data)]
    trained = alike[(alike["iterations"] > 0) & (alike["experiment"] == run.experiment)]
    if trained.empty:
        return None
    step = median(trained["train_seconds"] / trained["iterations"]) / _trainings(settings)
    some = trained.iloc[:: max(1, len(trained) // _SOME)]
    folders = [folder for name in some["run"] for folder in find_run(launcher.store.path, name)]
    sizes = [sum(path.stat().st_size for path in folder.iterdir()) for folder in folders]
    whole = [json.loads((folder / "run.json").read_text())["seconds"] for folder in folders]
    rest = max(0.0, median(whole) - median(some["train_seconds"]))
    return _Speed(step, rest, median(sizes), f"{len(trained)} finished network" + "s" * (len(trained) > 1))


def _from_steps(settings: Settings) -> _Speed:
    """What a few steps take here, and tests, at a third of a step for as many images."""
    data, model = start(settings)
    training = settings.training
    size, every = training.batch_size or 1, training.evaluate_every or 1
    optimizer = make_optimizer(model, training)
    batches = data.training_batches(settings.run.sample, size, training.augmentation or "none")
    ends = []
    for _ in range(_STEPS + 1):
        images, labels = next(batches)
        F.cross_entropy(model(images), labels).backward()
        optimizer.step()
        optimizer.zero_grad()
        float(next(model.parameters()).detach().flatten()[0])  # the device has done it all
        ends.append(time.perf_counter())
    step = (ends[-1] - ends[0]) / _STEPS
    if isinstance(data.train, Files):
        batches.close()  # type: ignore[attr-defined]
    tested = (len(data.test) + len(data.validation or ())) / size / every / 3
    values = sum(value.numel() for value in model.state_dict().values() if value.is_floating_point())
    bytes_ = _TABLES + 4 * values + Masks.of(model).total / 8
    return _Speed(step * (1 + tested), 0.0, bytes_, f"{_STEPS} steps made here (pruning not counted)")


def _time(seconds: float) -> str:
    for unit, length in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds:.0f} seconds"


def _size(count: float) -> str:
    for unit, length in (("GB", 1e9), ("MB", 1e6)):
        if count >= length:
            return f"{count / length:.1f} {unit}"
    return f"{count / 1e3:.0f} kB"
