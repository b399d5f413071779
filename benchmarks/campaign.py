"""Campaign overhead: seconds of commands on large results folders, and seconds per run beyond the run's own work.

    python -m benchmarks.campaign

Scale: 700, 7,000 and 70,000 finished runs, written by the store; seconds of `--status`, of `--dry_run`, of
`load_summaries` without and with an index, and of a figure. Throughput: short runs of LeNet-300-100 on the digits, in
the main process, with two workers and through Ray with two workers. The overhead per run is computed from the
difference between a large and a small campaign, so that start-up does not count.
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
from Utils.results import load_summaries
from Utils.results.outcome import Outcome
from Utils.results.schema import LAYER_COLUMNS, TRAINING_COLUMNS
from Utils.results.store import Store

ROOT = Path(__file__).parents[1]
ARCHITECTURES = ("lenet300100", "lenet5", "vgg16", "vgg19", "resnet18")
SIZES = {700: (7, 4), 7_000: (28, 10), 70_000: (100, 28)}
"""Number of runs, and the numbers of target sparsities and samples that give it with the architectures and pruners."""
PRUNERS = ("random", "snip", "synflow", "mag", "random/erk")
FEW, MANY = 10, 110
SHORT = ("--data=digits", "--iterations=100", "--evaluate_every=50", "--threads=1")


def flags(size: int, folder: Path) -> list[str]:
    """The flags of a campaign of about `size` runs."""
    levels, samples = SIZES[size]
    targets = [f"{1 - 10 ** -(2 * level / levels):.6f}" for level in range(1, levels + 1)]
    return [
        "--data=digits", "--architecture", *ARCHITECTURES, "--pruner", *PRUNERS, "--target_sparsity", *targets,
        "--sample", *map(str, range(samples)), f"--out_path={folder}",
    ]  # fmt: skip


def write(size: int, folder: Path) -> int:
    """Write finished runs without masks and weights; returns their number."""
    _, request = program.read(flags(size, folder)).split(Command)
    runs = resolve_all(request, lambda architecture, data: data or "digits")
    store, baselines = Store(folder), {}
    layers = pd.DataFrame([dict.fromkeys(LAYER_COLUMNS, 0)])
    training = pd.DataFrame([dict.fromkeys(TRAINING_COLUMNS, 0.5)])
    sync, os.fsync = os.fsync, lambda handle: None  # the speed of the disk is not measured
    for number, settings in enumerate(runs):
        architecture = settings.run.architecture
        baselines[architecture] = baselines.get(architecture) or baseline(settings.run, settings.training.validation)
        summary = {"top1": 0.9 + number % 100 / 1000, "best_top1": 0.99, "top5": 0.99, "test_loss": 0.1, "chance": 0.1}
        summary |= {"iterations": 100, "prune_seconds": 0.1, "train_seconds": 1.0, "collapsed": False, "macs": 266_200}
        kept = {"prunable": 266_200, "kept_direct": 26_620, "kept_effective": 26_000, "train_loss": 0.1}
        ratios = {
            "effective_compression": 1 / settings.target.density,
            "direct_compression": 1 / settings.target.density,
        }
        store.write(settings, baselines[architecture], Outcome(summary | kept | ratios, layers, training), 1.0)
    os.fsync = sync
    return len(runs)


def seconds(*command: str) -> float:
    """Wall time of a Python command in seconds."""
    started = time.perf_counter()
    subprocess.run([sys.executable, *command], check=True, capture_output=True, cwd=ROOT)
    return round(time.perf_counter() - started, 2)


def loading(folder: Path) -> float:
    """Wall time of `load_summaries` in seconds."""
    started = time.perf_counter()
    load_summaries(folder)
    return round(time.perf_counter() - started, 2)


def scale() -> dict:
    """Seconds of each command for each number of runs."""
    measurements = {}
    for size in SIZES:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            numbers: dict[str, float] = {"runs": write(size, folder)}
            numbers["load_summaries, no index"] = loading(folder)
            numbers["load_summaries"] = loading(folder)
            numbers["--status"] = seconds("main.py", *flags(size, folder), "--status")
            numbers["--dry_run"] = seconds("main.py", *flags(size, folder), "--dry_run")
            numbers["figure"] = seconds(
                "visualization.py", f"--out_path={folder}", "--architecture=lenet300100", "--plot_type=accuracies"
            )
            measurements[f"{size:,}"] = numbers
    return measurements


def campaign(folder: Path, count: int, *extra: str) -> float:
    """Wall time of `count` short runs in seconds."""
    samples = map(str, range(count // 5))
    return seconds("main.py", *SHORT, "--pruner", *PRUNERS, "--sample", *samples, f"--out_path={folder}", *extra)


def work_seconds(folder: Path) -> float:
    """Sum of the seconds that the runs of a campaign took, as stored in `run.json`."""
    return sum(json.loads(path.read_text())["seconds"] for path in folder.rglob("run.json"))


def throughput() -> dict:
    """Runs per hour, seconds per run of work and of overhead, and seconds of start-up, for each executor."""
    measurements = {}
    executors = {"1 worker": ("--workers=1",), "2 workers": ("--workers=2",), "Ray": ("--launcher=ray", "--workers=2")}
    for executor, extra in executors.items():
        workers = 1 if executor == "1 worker" else 2
        with tempfile.TemporaryDirectory() as folder:
            few, many = (campaign(Path(folder) / str(count), count, *extra) for count in (FEW, MANY))
            work = {count: work_seconds(Path(folder) / str(count)) for count in (FEW, MANY)}
        work_per_run = (work[MANY] - work[FEW]) / (MANY - FEW)
        per_run = (many - few) / (MANY - FEW)
        measurements[executor] = {
            "networks an hour": round(3600 / per_run),
            "own work": round(work_per_run, 3),
            "beyond it": round(per_run * workers - work_per_run, 3),
            "start": round(few - FEW * per_run, 2),
        }
    return measurements


def main() -> None:
    """Measure throughput and scale."""
    assert set(PRUNERS) <= {*CRITERIA, "random/erk"}
    keep("campaign", "python -m benchmarks.campaign", {"throughput": throughput(), "scale": scale()})


if __name__ == "__main__":
    main()
