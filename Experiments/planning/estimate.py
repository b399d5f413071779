"""How long will what is left take, and how much room?"""

import json
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from statistics import median

import pandas as pd
import torch
import torch.nn.functional as F
from torch import nn

from Experiments.common.network import load_data_and_model
from Experiments.planning.resolve import baseline
from Layers import Masks
from Utils.campaign.run_state import RunStates
from Utils.config.settings import Settings
from Utils.data.dataset import Batches
from Utils.data.streaming import Files
from Utils.errors import UserError
from Utils.machine import cores
from Utils.results.folders import find_run
from Utils.results.summaries import load_summaries
from Utils.training.evaluation import evaluation_batch_size
from Utils.training.optimizers import make_optimizer

_STEPS = 3
"""Steps that are timed where no finished run says how long one takes."""

_SOME = 20
"""Finished networks that are looked at closely."""

_PACE = ("batch_size", "precision")
"""What makes steps longer or shorter."""

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


def estimate(states: RunStates, runs: Sequence[Settings], count: int) -> str:
    """Time and disk that `count` runs take, from those whose data is there; or why that cannot be told."""
    if not runs:
        return "no estimate: the data is not here yet"
    summaries = load_summaries(states.store.path)
    speeds: dict[tuple, _Speed] = {}
    seconds, size = 0.0, 0.0
    for settings in runs:
        run, training = settings.run, settings.training
        kind = run.architecture, run.data, training.train, training.batch_size, settings.machine.precision
        if kind not in speeds:
            try:
                speeds[kind] = _from_results(states, summaries, settings) or _from_steps(settings)
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
    levels = getattr(settings.options, "levels", 0)
    return 1 + levels * (2 if settings.pruning.reinitialize else 1)


def _from_results(states: RunStates, summaries: pd.DataFrame, settings: Settings) -> _Speed | None:
    """What finished networks of the same kind took."""
    run, is_trained = settings.run, settings.training.train
    alike = summaries[
        (summaries["architecture"] == run.architecture)
        & (summaries["data"] == run.data)
        & (summaries["experiment"] == run.experiment)
        & ((summaries["iterations"] > 0) == is_trained)
    ]
    values, plain = settings.values(), baseline(settings).values()
    for name in _PACE if is_trained else ():
        given = alike["settings"].str.extract(rf"--{name}=(\S+)", expand=False).fillna("")
        alike = alike[given == ("" if values[name] == plain[name] else str(values[name]))]
    some = alike.iloc[:: max(1, len(alike) // _SOME)]
    found = [_weighed(folder) for name in some["run"] for folder in find_run(states.store.path, name)]
    found = [both for both in found if both is not None]
    if not found:
        return None
    step = median(alike["train_seconds"] / alike["iterations"]) / _trainings(settings) if is_trained else 0.0
    whole, sizes = zip(*found, strict=True)
    rest = max(0.0, median(whole) - (median(some["train_seconds"]) if is_trained else 0.0))
    return _Speed(step, rest, median(sizes), f"{len(alike)} finished network" + "s" * (len(alike) > 1))


def _weighed(folder: Path) -> tuple[float, float] | None:
    """Seconds and bytes of a finished run; None if it is being written again."""
    try:
        seconds = json.loads((folder / "run.json").read_bytes())["seconds"]
        return float(seconds), float(sum(path.stat().st_size for path in folder.iterdir()))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _from_steps(settings: Settings) -> _Speed:
    """What a few steps take here, and tests, at a third of a step for as many images; or tests, without training."""
    data, model = load_data_and_model(settings)
    training = settings.training
    tested = len(data.test) + len(data.validation or ())
    values = sum(value.numel() for value in model.state_dict().values() if value.is_floating_point())
    room = _TABLES + 4 * values + Masks.of(model).total / 8
    if not training.train:
        size = evaluation_batch_size(training, data.input_shape)
        each = _seconds_each(model, Batches(data, data.test, size), None) / min(size, len(data.test))
        return _Speed(0.0, tested * each, room, "batches tested here (pruning not counted)")
    size, every = training.batch_size or 1, training.evaluate_every or 1
    batches = data.training_batches(settings.run.sample, size, training.augmentation or "none")
    step = _seconds_each(model, batches, make_optimizer(model, training))
    if isinstance(data.train, Files):
        batches.close()  # type: ignore[attr-defined]
    return _Speed(step * (1 + tested / size / every / 3), 0.0, room, f"{_STEPS} steps made here (pruning not counted)")


def _seconds_each(model: nn.Module, batches: Iterable, optimizer: torch.optim.Optimizer | None) -> float:
    """How long a batch takes, the first not counted unless it is the only one."""
    model.train(optimizer is not None)
    ends = [time.perf_counter()]
    for images, labels in islice(batches, _STEPS + 1):
        with torch.set_grad_enabled(optimizer is not None):
            loss = F.cross_entropy(model(images), labels)
        if optimizer is not None:
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
        float(next(model.parameters()).detach().flatten()[0] + loss.detach())  # the device has done it all
        ends.append(time.perf_counter())
    first = min(1, len(ends) - 2)
    return (ends[-1] - ends[first]) / (len(ends) - 1 - first)


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
