"""Estimate of the time and disk space that unfinished runs take."""

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

from Experiments.common.trial import Trial
from Experiments.registry import EXPERIMENTS
from Layers import Masks
from Layers.forms.dynamic import Dynamic
from Utils.campaign.plan import PlannedRun
from Utils.config.fields import plain
from Utils.config.settings import Settings
from Utils.data.dataset import Batches
from Utils.data.streaming import Files
from Utils.errors import UserError
from Utils.machine import cores
from Utils.results.digests import read_record
from Utils.results.store import Store
from Utils.results.summaries import read_summaries
from Utils.training.context import RunContext
from Utils.training.evaluation import evaluation_batch_size
from Utils.training.optimizers import make_optimizer
from Utils.user_code import user_code

_STEPS = 3
"""Number of steps to time if there is no comparable finished run."""

_SAMPLE_SIZE = 20
"""Number of comparable finished runs that an estimate rests on."""

_READ_AT_MOST = 200
"""Number of records that are read to find them."""

_SPEED_FLAGS = ("batch_size", "precision")
"""Settings that change the time of a step."""

_TABLE_BYTES = 20_000
"""Approximate size of the tables and the `run.json` of a run."""


@dataclass(frozen=True)
class _Cost:
    """Time and disk space of one run of a kind."""

    step: float
    """Seconds per iteration, including tests."""
    rest: float
    """Seconds of pruning, measuring and writing."""
    bytes: float
    source: str
    """Origin of these numbers, for the report."""


def estimate(store: Store, runs: Sequence[PlannedRun], count: int) -> str:
    """Time and disk space as text, or the reason why there is no estimate.

    `count` runs are to be executed; the estimate covers `runs`, those whose data is available.
    """
    if not runs:
        return "no estimate: the data is not available yet"
    summaries = read_summaries(store.path).rows
    summaries = summaries[summaries["status"] == "complete"]
    costs: dict[tuple, _Cost] = {}
    seconds, size = 0.0, 0.0
    for settings in (run.settings for run in runs):
        run, recipe = settings.run, settings.recipe
        kind = run.architecture, run.data, recipe.train, recipe.batch_size, settings.machine.precision
        if kind not in costs:
            try:
                costs[kind] = _from_results(summaries, settings) or _from_steps(settings)
            except UserError as error:
                return f"no estimate: {error}"
        cost = costs[kind]
        steps = recipe.iterations if recipe.train else 0
        seconds += cost.rest + cost.step * steps * _trainings(settings)
        size += cost.bytes
    machine = runs[0].settings.machine
    workers = machine.workers or 1
    if machine.launcher == "local":
        # More threads than cores slow each other down.
        workers = min(workers, max(1, cores() // max(run.settings.machine.threads or 1 for run in runs)))
    sources = " and ".join(sorted({cost.source for cost in costs.values()}))
    rest = f"; not counting {count - len(runs)} runs whose data is not available yet" if count > len(runs) else ""
    duration = _time(seconds / workers) + (f" with {workers} at a time" if workers > 1 else "")
    return f"about {duration} and {_size(size)} on disk, from {sources}{rest}"


def _trainings(settings: Settings) -> int:
    return EXPERIMENTS[settings.run.experiment].trainings(settings)


def _from_results(summaries: pd.DataFrame, settings: Settings) -> _Cost | None:
    """Median cost of finished runs of the same kind; None if there are none."""
    run, is_trained = settings.run, settings.recipe.train and _trainings(settings) > 0
    alike = summaries[
        (summaries["architecture"] == run.architecture)
        & (summaries["data"] == run.data)
        & (summaries["experiment"] == run.experiment)
        & ((summaries["iterations"] > 0) == is_trained)
    ].set_index("folder")
    folders = alike.index[:: max(1, len(alike) // _READ_AT_MOST)]
    measured = ((folder, _seconds_and_bytes(Path(folder), settings)) for folder in folders)
    readable = dict(islice(((folder, pair) for folder, pair in measured if pair is not None), _SAMPLE_SIZE))
    if not readable:
        return None
    sample = alike.loc[list(readable)]
    durations, sizes = zip(*readable.values(), strict=True)
    step = median(sample["train_seconds"] / sample["iterations"]) / _trainings(settings) if is_trained else 0.0
    rest = max(0.0, median(durations) - (median(sample["train_seconds"]) if is_trained else 0.0))
    return _Cost(step, rest, median(sizes), f"{len(sample)} finished network" + "s" * (len(sample) > 1))


def _seconds_and_bytes(folder: Path, settings: Settings) -> tuple[float, float] | None:
    """Duration and size of a finished run; None if its steps take another time, or if it is just being replaced."""
    try:
        record = read_record(folder).values
        recorded, wanted = record["settings"], settings.values()
        if settings.recipe.train and any(recorded[name] != plain(wanted[name]) for name in _SPEED_FLAGS):
            return None
        return float(record["seconds"]), float(sum(path.stat().st_size for path in folder.iterdir()))
    except (UserError, OSError, ValueError, KeyError, TypeError):
        return None


def _from_steps(settings: Settings) -> _Cost:
    """Cost by a few timed steps; a test takes a third of a step per image. Without training, only tests are timed."""
    trial = Trial(settings, RunContext())
    data, model = trial.data, trial.model
    recipe = settings.recipe
    tested = len(data.test) + len(data.validation or ())
    floats = sum(value.numel() for value in model.state_dict().values() if value.is_floating_point())
    disk = _TABLE_BYTES + 4 * floats + Masks.of(model).total / 8
    if not recipe.train:
        size = evaluation_batch_size(recipe, data.input_shape)
        per_image = _seconds_per_batch(model, Batches(data, data.test, size), None) / min(size, len(data.test))
        return _Cost(0.0, tested * per_image, disk, "test batches timed here (pruning not counted)")
    size, every = recipe.batch_size, recipe.evaluate_every
    batches = data.training_batches(settings.run.sample, size, recipe.augmentation)
    form = Dynamic()
    with form.holding(model):
        step = _seconds_per_batch(model, batches, make_optimizer(form.parameters(), recipe))
    if isinstance(data.train, Files):
        batches.close()  # type: ignore[attr-defined]
    return _Cost(step * (1 + tested / size / every / 3), 0.0, disk, f"{_STEPS} steps timed here (pruning not counted)")


def _seconds_per_batch(model: nn.Module, batches: Iterable, optimizer: torch.optim.Optimizer | None) -> float:
    """Mean time of a batch, without the first one unless it is the only one; trains if there is an optimizer."""
    model.train(optimizer is not None)
    ends = [time.perf_counter()]
    for images, labels in islice(batches, _STEPS + 1):
        with torch.set_grad_enabled(optimizer is not None), user_code("the network fails"):
            loss = F.cross_entropy(model(images), labels)
        if optimizer is not None:
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
        float(next(model.parameters()).detach().flatten()[0] + loss.detach())  # waits for the device
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
