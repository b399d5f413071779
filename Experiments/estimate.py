"""How long will what is left take, and how much room?"""

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

import pandas as pd
import torch.nn.functional as F

from Experiments.network import start
from Layers import Masks
from Utils.errors import UserError
from Utils.ledger import Ledger
from Utils.machine import cores
from Utils.results import find_run, load_summaries
from Utils.settings import Settings
from Utils.streaming import Files
from Utils.training import make_optimizer

_STEPS = 3
"""Steps that are timed where no finished run says how long one takes."""

_SOME = 20
"""Finished networks that are looked at closely."""

_TABLES = 20_000
"""Bytes of a run's tables and its `run.json`, about."""


@dataclass(frozen=True)
class _Speed:
    """What networks of one kind take."""

    step: float
    """Seconds of an iteration, tests included."""
    rest: float
    """Seconds of pruning, measuring and writing."""
    bytes: float
    source: str


def estimate(ledger: Ledger, runs: Sequence[Settings], count: int) -> str:
    """Time and disk that `count` runs take, from those whose data is there; or why that cannot be told."""
    if not runs:
        return "no estimate: the data is not here yet"
    summaries = load_summaries(ledger.store.path)
    speeds: dict[tuple, _Speed] = {}
    seconds, size = 0.0, 0.0
    for settings in runs:
        run, training = settings.run, settings.training
        kind = run.architecture, run.data, training.batch_size, settings.machine.precision
        if kind not in speeds:
            try:
                speeds[kind] = _from_results(ledger, summaries, settings) or _from_steps(settings)
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


def _from_results(ledger: Ledger, summaries: pd.DataFrame, settings: Settings) -> _Speed | None:
    """What finished networks of the same kind took."""
    run = settings.run
    alike = summaries[(summaries["architecture"] == run.architecture) & (summaries["data"] == run.data)]
    trained = alike[(alike["iterations"] > 0) & (alike["experiment"] == run.experiment)]
    if trained.empty:
        return None
    step = median(trained["train_seconds"] / trained["iterations"]) / _trainings(settings)
    some = trained.iloc[:: max(1, len(trained) // _SOME)]
    folders = [folder for name in some["run"] for folder in find_run(ledger.store.path, name)]
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
