"""Fixtures that several files share."""

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from Layers import Masks
from Utils.results import load_summaries

torch.set_num_threads(1)

ROOT = Path(__file__).parents[1]

OWN_NETWORK = ROOT / "tests" / "own" / "residual_network.py"
"""A network of a user: a factory `residual`."""

SHARED = Path(os.environ.get("SPARSE_SHARED", ROOT.parent / "shared"))
"""Optional real data and reference cases beside the checkout."""


@pytest.fixture(autouse=True)
def seeded() -> None:
    """Each test draws the same numbers whatever ran before it, so that none fails by chance on another day."""
    torch.manual_seed(0)


@pytest.fixture
def program() -> Iterator[Callable[..., subprocess.Popen]]:
    """Starts main.py as a process; processes that still run at the end of the test are killed."""
    from commands import start

    processes: list[subprocess.Popen] = []

    def started(*arguments, **options) -> subprocess.Popen:
        processes.append(start(*arguments, **options))
        return processes[-1]

    yield started
    for process in processes:
        if process.poll() is None:
            process.kill()


def shared(relative: str) -> Path:
    """A file of the optional folder; skips the test where it is absent."""
    path = SHARED / relative
    if not path.exists():
        pytest.skip(f"needs {relative} in the optional folder of reference data ({SHARED})")
    return path


def make_batches(shape: tuple[int, ...], count: int = 3, size: int = 16, seed: int = 0) -> list:
    """Random inputs and labels of ten classes."""
    generator = torch.Generator().manual_seed(seed)
    return [
        (torch.randn(size, *shape, generator=generator), torch.randint(0, 10, (size,), generator=generator))
        for _ in range(count)
    ]


def double_batches(shape: tuple[int, ...], count: int = 2, size: int = 5) -> list:
    """Batches in double precision and a short one, so that it shows whether every example counts the same."""
    batches = [(x.double(), y) for x, y in make_batches(shape, count=count, size=size)]
    return [*batches, (batches[0][0][:2], batches[0][1][:2])]


@pytest.fixture
def own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A cache folder of the user that belongs to the test alone."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Images in a training and a test set; modules with other images have a folder of their own."""
    from pictures import two_sets

    return two_sets(tmp_path / "images")


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """No server can be reached."""
    from Utils.data import sources

    monkeypatch.setattr(sources, "_answers", lambda host: False)


def rows_of(folder: Path) -> pd.DataFrame:
    """Every row of `summary.csv` below a results folder, failed ones too."""
    return load_summaries(folder, status=None)


def run_folder(results: Path, row: pd.Series) -> Path:
    """The folder of a run, from its row."""
    return next(results.rglob(f"*_{row['run']}"))


def masks_and_weights(results: Path, row: pd.Series) -> tuple[Masks, dict[str, torch.Tensor]]:
    """The stored masks and weights of a run, from its row."""
    folder = run_folder(results, row)
    return Masks.load(folder / "masks.safetensors"), load_file(folder / "weights.safetensors")


def layer_counts(masks: Masks) -> list[int]:
    """The number of kept entries of each layer."""
    return [int(mask.sum()) for mask in masks.values()]
