"""Fixtures that several files share."""

import os
from pathlib import Path

import pandas as pd
import pytest
import torch

from Utils.results import load_summaries

torch.set_num_threads(1)

SHARED = Path(os.environ.get("SPARSE_SHARED", Path(__file__).parents[2] / "shared"))
"""Optional real data and reference cases beside the checkout."""


@pytest.fixture(autouse=True)
def seeded() -> None:
    """Each test draws the same numbers whatever ran before it, so that none fails by chance on another day."""
    torch.manual_seed(0)


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


def rows_of(folder: Path) -> pd.DataFrame:
    """Every row of `summary.csv` below a results folder, failed ones too."""
    return load_summaries(folder, status=None)


def run_folder(results: Path, row: pd.Series) -> Path:
    """The folder of a run, from its row."""
    return next(results.rglob(f"*_{row['run']}"))
