"""Scores of supermasks: their histograms, and how far two ways of rounding them differ.

Scores are in [0, 1]; entries that are frozen out are 0 in every mask. Naive rounding keeps scores above a threshold,
probabilistic rounding keeps each with its score as probability.
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from Utils.results.supermask_scores import Scores

BINS = 40


def score_histograms(layers: Mapping[str, Scores], bins: int = BINS) -> pd.DataFrame:
    """Histograms of scores on [0, 1]; those outside are clamped.

    Columns: `layer`, `low`, `high` (ends of a bin, the last of which is closed), `free` and `frozen` (numbers of
    entries that may be kept, and that may not).
    """
    edges = np.linspace(0, 1, bins + 1)
    tables = [
        pd.DataFrame({"layer": layer, "low": edges[:-1], "high": edges[1:]} | {
            name: np.histogram(np.clip(score[chosen], 0, 1), edges)[0]
            for name, chosen in (("free", free), ("frozen", ~free))
        })
        for layer, (score, free) in layers.items()
    ]  # fmt: skip
    return pd.concat(tables, ignore_index=True)


def rounding_distances(layers: Mapping[str, Scores], threshold: float = 0.5) -> pd.DataFrame:
    """Hamming distances of masks that were rounded in different ways: exact expectations over all draws, by layer.

    Columns: `layer`, `size`, `naive_kept`, `probabilistic_kept` (expected), `naive_to_probabilistic` (expected number
    of different entries) and its standard deviation `naive_to_probabilistic_sd`, and `two_probabilistic` (expected
    number of different entries of two independent draws).
    """
    return pd.DataFrame([{"layer": layer, **_distances(*scores, threshold)} for layer, scores in layers.items()])


def _distances(score: np.ndarray, free: np.ndarray, threshold: float) -> dict[str, float]:
    kept = np.where(free, np.clip(score, 0, 1), 0.0).astype(np.float64)
    naive = free & (score > threshold)
    variance = float((kept * (1 - kept)).sum())
    return {
        "size": score.size,
        "naive_kept": int(naive.sum()),
        "probabilistic_kept": float(kept.sum()),
        "naive_to_probabilistic": float(np.where(naive, 1 - kept, kept).sum()),
        "naive_to_probabilistic_sd": variance**0.5,
        "two_probabilistic": 2 * variance,
    }
