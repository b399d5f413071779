"""Timing of functions, and the files of measurements in `benchmarks/results`."""

import json
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch

from Utils.machine import describe_machine

RESULTS = Path(__file__).parent / "results"


def median_seconds(function: Callable[[], object], repeats: int) -> float:
    """Median seconds of `repeats` calls, after one warm-up call."""
    function()
    seconds = []
    for _ in range(repeats):
        started = time.perf_counter()
        function()
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds)


def keep(name: str, command: str, numbers: object) -> None:
    """Write numbers with command, machine, versions and date to `benchmarks/results/NAME.json`, and print them."""
    record = {
        "command": command,
        "date": time.strftime("%Y-%m-%d"),
        "machine": describe_machine(torch.device("cpu")),
        "versions": {"python": platform.python_version(), "torch": torch.__version__},
        "numbers": numbers,
    }
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.json").write_text(json.dumps(record, indent=1) + "\n")
    print(json.dumps(numbers, indent=1))
