"""Calibration: how far the probabilities of a network are the frequencies of what they announce.

All arrays are of one test set: `probabilities` float64 (images, classes), whose rows sum to 1, and `labels` integers
(images,). No number depends on the order of images.
"""

import numpy as np
import pandas as pd

BINS = 15
"""Bins of a reliability curve, as in Guo et al. 2017."""


def negative_log_likelihood(log_probabilities: np.ndarray, labels: np.ndarray) -> float:
    """Mean of -log p(label), in nats, from natural logarithms (images, classes)."""
    return -float(np.take_along_axis(log_probabilities, _column(labels), axis=1).mean(dtype=np.float64))


def brier_score(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """Mean over images of the sum over classes of (p - [class is label])^2, from 0 to 2 (Brier 1950)."""
    own = np.take_along_axis(probabilities, _column(labels), axis=1)[:, 0]
    return float((np.square(probabilities).sum(axis=1) - 2 * own + 1).mean())


def reliability_curve(confidences: np.ndarray, is_correct: np.ndarray, bins: int = BINS) -> pd.DataFrame:
    """Accuracy against confidence, in equal-width bins (lower, upper] of confidence; the first one holds 0, too.

    `confidences` float64 (images,) are the probabilities of the predicted classes, `is_correct` bool (images,).
    Columns: `bin` from 0, `lower`, `upper`, `count`, and the means `confidence` and `accuracy`, NaN in an empty bin.
    """
    edges = np.linspace(0, 1, bins + 1)
    # `left` finds the first edge that is not below a confidence: its upper edge.
    places = np.clip(np.searchsorted(edges, confidences, side="left") - 1, 0, bins - 1)
    counts = np.bincount(places, minlength=bins)
    sums = {"confidence": confidences, "accuracy": is_correct.astype(np.float64)}
    with np.errstate(invalid="ignore"):
        means = {name: np.bincount(places, values, bins) / counts for name, values in sums.items()}
    return pd.DataFrame({"bin": range(bins), "lower": edges[:-1], "upper": edges[1:], "count": counts, **means})


def expected_calibration_error(curve: pd.DataFrame) -> float:
    """Mean of |accuracy - confidence| over the images of a reliability curve, bin by bin (Naeini et al. 2015)."""
    gaps = (curve["accuracy"] - curve["confidence"]).abs()
    return float((gaps * curve["count"]).sum() / curve["count"].sum())


def _column(labels: np.ndarray) -> np.ndarray:
    return labels.astype(np.int64)[:, None]
