"""Scores of a search for a mask, as a run stores them in `scores.safetensors`. Loads no PyTorch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from Utils.files import is_file, reading
from Utils.results.digests import read_file

SCORES = "scores.safetensors"


class Scores(NamedTuple):
    """The scores of a parameter after the search, and whether each entry may be kept; arrays of one shape."""

    score: np.ndarray
    """float32."""
    free: np.ndarray
    """bool; False where an entry was frozen out."""


def scores_to_bytes(scores: Mapping[str, Scores]) -> bytes:
    """The content of the file; `scores` by name of the parameter."""
    from safetensors.numpy import save

    kinds = {f"{name}|{kind}": values for name, pair in scores.items() for kind, values in pair._asdict().items()}
    return save({name: np.ascontiguousarray(values) for name, values in kinds.items()})


def read_scores(folder: str | Path) -> dict[str, Scores]:
    """The scores of a stored run by name of the parameter; none if it has not searched or its file was deleted.

    Raises `DamagedError`, or `UnreadableError` if the file cannot be opened.
    """
    from safetensors.numpy import load

    folder = Path(folder)
    if not is_file(folder / SCORES):
        return {}
    content = read_file(folder, SCORES)
    with reading(folder / SCORES, "a file of scores"):
        stored = load(content)
        # The library does not keep the order of names.
        names = sorted(key.removesuffix("|score") for key in stored if key.endswith("|score"))
        return {name: Scores(stored[f"{name}|score"], stored[f"{name}|free"]) for name in names}
