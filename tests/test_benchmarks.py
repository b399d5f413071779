"""Benchmarks: each measures what it says and keeps its numbers, here with little data and few repeats."""

import time
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest
import torch
from pictures import picture, save

import benchmarks
from Models import build
from Utils.data.dataset import load
from Utils.data.image_spec import ImageSpec

NAMES = sorted(
    path.stem for path in Path(benchmarks.__path__[0]).glob("*.py") if path.stem not in ("__init__", "timing")
)
SLOW = ("campaign", "image_folder", "structured")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Images of 32 x 32 pixels, in two classes."""
    for part, count in (("train", 24), ("test", 6)):
        for seed, name in enumerate(("ant", "bee")):
            for number in range(count):
                save(tmp_path / part / name / f"{number}.png", picture(100 * seed + number, 32, 32))
    return tmp_path


def lenet5(name: str, *rest: object, **options: object) -> torch.nn.Module:
    return build("lenet5", (3, 32, 32), *rest[1:], **options)  # type: ignore[arg-type]


def once(function, repeats):
    started = time.perf_counter()
    function()
    return time.perf_counter() - started


def digits(name, path, spec):
    return load("digits", path, ImageSpec((1, 28, 28)))


SHORTER = {
    "campaign": {"FEW": 5, "MANY": 10, "SIZES": {50: (1, 2)}},
    "comparison": {"median_seconds": once, "NETWORKS": 3, "UNITS": 20, "IMAGES": 10},
    "curve": {"median_seconds": once, "vgg16": lambda: lenet5("")},
    "epoch": {"EPOCHS": 1, "STEPS": 3, "SAMPLES": 1, "load": digits, "loader": lambda path, training: [
        (torch.zeros(100, 1, 28, 28), torch.arange(100) % 10),
    ]},
    "image_folder": {"REPEATS": 1},
    "masks": {"NETWORKS": {"lenet300100": 1, "lenet5": 1}},
    "pruning": {"REPEATS": 1, "EXAMPLES": 8, "BATCH": 4, "build": lenet5},
    "structured": {"REPEATS": 1},
    "supermask": {"STEPS": 2, "ROUNDS": 1, "load": digits},
    "training": {"STEPS": {"lottery/resnet20": 1}, "LEARNING": {"lottery/resnet20": 2}, "ROUNDS": 1, "BATCH": 8},
}  # fmt: skip
"""What is replaced in each module."""


def measured(module: ModuleType, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> dict:
    records = []
    for name, value in SHORTER[module.__name__.rpartition(".")[2]].items():
        monkeypatch.setattr(module, name, value)
    monkeypatch.setattr(module, "keep", lambda *record: records.append(record))
    monkeypatch.setattr(torch, "set_num_threads", lambda count: None)
    module.main(*arguments)
    ((name, command, numbers),) = records
    assert command.startswith(f"python -m benchmarks.{name}") and module.__name__.endswith(name)
    return numbers


def positive(numbers: object) -> bool:
    """Whether all seconds and rates in a nested record are positive."""
    if isinstance(numbers, dict):
        return all(positive(value) for value in numbers.values())
    return not isinstance(numbers, float) or numbers > 0


@pytest.mark.parametrize("name", [
    pytest.param(name, marks=pytest.mark.slow if name in SLOW else ()) for name in NAMES
])  # fmt: skip
def test_a_benchmark_measures(name, folder, monkeypatch):
    module = import_module(f"benchmarks.{name}")
    needs_folder = "FOLDER" in (module.__doc__ or "").splitlines()[2]
    numbers = measured(module, monkeypatch, *[str(folder)] * needs_folder)
    assert numbers
    if name in ("curve", "masks", "image_folder", "structured", "supermask", "training"):
        assert positive(numbers)
    if name == "pruning":
        assert all(numbers[criterion]["overlap"] == 1 for criterion in ("mag", "snip", "grasp", "synflow"))
    if name == "epoch":
        assert numbers["rotation"]["ratio"] > 0


def test_the_record_names_command_machine_and_date(tmp_path, monkeypatch, capsys):
    from benchmarks import timing

    monkeypatch.setattr(timing, "RESULTS", tmp_path)
    timing.keep("some", "python -m benchmarks.some", {"seconds": 1.0})
    text = (tmp_path / "some.json").read_text()
    assert all(word in text for word in ('"command"', '"date"', '"processor"', '"torch"')) and capsys.readouterr().out
