"""Predictions of a network on the test set, as a run stores them in `predictions.safetensors`. Loads no PyTorch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from Utils.errors import UserError
from Utils.files import is_file, reading
from Utils.results.digests import read_file

PREDICTIONS = "predictions.safetensors"


@dataclass(frozen=True)
class Predictions:
    """What a network says about each test image, in the order of the test set."""

    labels: np.ndarray
    """uint8 or uint16 (images,): true classes."""
    predicted: np.ndarray
    """Like `labels`: the classes that the network counts as its top-1 answers."""
    log_probabilities: np.ndarray
    """float16 (images, classes): natural logarithms of the softmax, at least the lowest finite float16."""

    @classmethod
    def of(cls, labels: np.ndarray, predicted: np.ndarray, log_probabilities: np.ndarray) -> Predictions:
        """Predictions in the small types that are stored, from integers and floating-point numbers of any size."""
        kind = np.uint8 if log_probabilities.shape[1] <= 1 << 8 else np.uint16
        lowest = np.finfo(np.float16).min
        # NumPy propagates NaN, so that the output of a network that has diverged stays visible.
        logs = np.maximum(log_probabilities, lowest).astype(np.float16)
        return cls(labels.astype(kind), predicted.astype(kind), logs)

    @property
    def probabilities(self) -> np.ndarray:
        """float64 (images, classes): probabilities, which sum to 1 although logarithms were rounded."""
        rounded = np.exp(self.log_probabilities.astype(np.float64))
        return rounded / rounded.sum(axis=1, keepdims=True)

    def to_bytes(self) -> bytes:
        """The content of the file."""
        from safetensors.numpy import save

        return save({name: np.ascontiguousarray(values) for name, values in vars(self).items()})


def has_predictions(folder: str | Path) -> bool:
    """Whether a run has stored its predictions."""
    return is_file(Path(folder) / PREDICTIONS)


def read_predictions(folder: str | Path) -> Predictions:
    """The predictions of a stored run.

    Raises `UserError` if it has none, `DamagedError`, or `UnreadableError` if the file cannot be opened.
    """
    from safetensors.numpy import load

    folder = Path(folder)
    if not has_predictions(folder):
        raise UserError(f"{folder} holds no predictions; repeat its command with --save_predictions --overwrite")
    content = read_file(folder, PREDICTIONS)
    with reading(folder / PREDICTIONS, "a file of predictions"):
        return Predictions(**load(content))
