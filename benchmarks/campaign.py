"""How long does a user wait for a campaign, beside what its networks take?

    python -m benchmarks.campaign

Scale: 700, 7,000 and 70,000 finished runs, written by the store's own code; seconds of `--status`, of `--dry_run`, of
`load_summaries` without an index and with one, and of a figure. Throughput: short runs of LeNet-300-100 on the digits
in this process, by two workers and through Ray with two; what each network takes beyond its own work, from how much
longer more of them take, so that starting up does not count.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd

import main as program
from benchmarks.timing import keep
from Experiments.planning.resolve import baseline, resolve_all
from Pruners.registry import CRITERIA
from Utils.config.command import Command
from Utils.config.settings import Settings
from Utils.results import load_summaries
from Utils.results.outcome import Outcome
from Utils.results.schema import LAYER_COLUMNS, TRAINING_COLUMNS
from Utils.results.store import Store

ROOT = Path(__file__).parents[1]
ARCHITECTURES = ("lenet300100", "lenet5", "vgg16", "vgg19", "resnet18")
SIZES = {700: (7, 4), 7_000: (28, 10), 70_000: (100, 28)}
"""Levels and samples of so many networks, with the architectures and five pruners."""
PRUNERS = ("random", "snip", "synflow", "mag", "random/erk")
FEW, MANY = 10, 110
SHORT = ("--data=digits", "--iterations=100", "--evaluate_every=50", "--threads=1")


def words(size: int, folder: Path) -> list[str]:
    """The flags of a request of about so many networks."""
    levels, samples = SIZES[size]
    targets = [f"{1 - 10 ** -(2 * level / levels):.6f}" for level in range(1, levels + 1)]
    return [
        "--data=digits", "--architecture", *ARCHITECTURES, "--pruner", *PRUNERS, "--target_sparsity", *targets,
        "--sample", *map(str, range(samples)), f"--out_path={folder}",
    ]  # fmt: skip


def write(size: int, folder: Path) -> int:
    """Finished runs, without masks and weights; returns how many."""
    _, request = program.read(words(size, folder)).split(Command)
    runs = resolve_all(Settings().with_values(**request.single()), request, dict.fromkeys(ARCHITECTURES, "digits"))
    store, usuals = Store(folder), {}
    layers = pd.DataFrame([dict.fromkeys(LAYER_COLUMNS, 0)])
    training = pd.DataFrame([dict.fromkeys(TRAINING_COLUMNS, 0.5)])
    sync, os.fsync = os.fsync, lambda handle: None  # the disk is not what is measured
    for number, settings in enumerate(runs):
        kind = settings.run.architecture
        usuals[kind] = usuals.get(kind) or baseline(settings)
        summary = {"top1": 0.9 + number % 100 / 1000, "best_top1": 0.99, "top5": 0.99, "test_loss": 0.1, "chance": 0.1}
        summary |= {"iterations": 100, "prune_seconds": 0.1, "train_seconds": 1.0, "collapsed": False, "macs": 266_200}
        kept = {"prunable": 266_200, "kept_direct": 26_620, "kept_effective": 26_000, "train_loss": 0.1}
        ratios = {
            "effective_compression": 1 / settings.target.density,
            "direct_compression": 1 / settings.target.density,
        }
        store.write(settings, usuals[kind], Outcome(summary | kept | ratios, layers, training), 1.0)
    os.fsync = sync
    return len(runs)


def seconds(*command: str) -> float:
    """Wall time of a command."""
    started = time.perf_counter()
    subprocess.run([sys.executable, *command], check=True, capture_output=True, cwd=ROOT)
    return round(time.perf_counter() - started, 2)


def loading(folder: Path) -> float:
    """Seconds of `load_summaries`."""
    started = time.perf_counter()
    load_summaries(folder)
    return round(time.perf_counter() - started, 2)


def scale() -> dict:
    """Seconds for each size."""
    found = {}
    for size in SIZES:
        with tempfile.TemporaryDirectory() as place:
            folder = Path(place)
            numbers: dict[str, float] = {"runs": write(size, folder)}
            numbers["load_summaries, no index"] = loading(folder)
            numbers["load_summaries"] = loading(folder)
            numbers["--status"] = seconds("main.py", *words(size, folder), "--status")
            numbers["--dry_run"] = seconds("main.py", *words(size, folder), "--dry_run")
            numbers["figure"] = seconds(
                "visualization.py", f"--out_path={folder}", "--architecture=lenet300100", "--plot_type=accuracies"
            )
            found[f"{size:,}"] = numbers
    return found


def campaign(folder: Path, count: int, *more: str) -> float:
    """Wall time of so many short runs."""
    samples = map(str, range(count // 5))
    return seconds("main.py", *SHORT, "--pruner", *PRUNERS, "--sample", *samples, f"--out_path={folder}", *more)


def own_work(folder: Path) -> float:
    """Seconds that all networks of a campaign took themselves."""
    return sum(json.loads(path.read_text())["seconds"] for path in folder.rglob("run.json"))


def throughput() -> dict:
    """Networks an hour, and seconds of each beyond its own work."""
    found = {}
    ways = {"1 worker": ("--workers=1",), "2 workers": ("--workers=2",), "Ray": ("--launcher=ray", "--workers=2")}
    for way, more in ways.items():
        workers = 1 if way == "1 worker" else 2
        with tempfile.TemporaryDirectory() as place:
            few, many = (campaign(Path(place) / str(count), count, *more) for count in (FEW, MANY))
            work = {count: own_work(Path(place) / str(count)) for count in (FEW, MANY)}
        own = (work[MANY] - work[FEW]) / (MANY - FEW)
        each = (many - few) / (MANY - FEW)
        found[way] = {
            "networks an hour": round(3600 / each),
            "own work": round(own, 3),
            "beyond it": round(each * workers - own, 3),
            "start": round(few - FEW * each, 2),
        }
    return found


def main() -> None:
    """Measure both."""
    assert set(PRUNERS) <= {*CRITERIA, "random/erk"}
    keep("campaign", "python -m benchmarks.campaign", {"throughput": throughput(), "scale": scale()})


if __name__ == "__main__":
    main()
