"""Differences of accuracy that are paired by sample, with their intervals."""

from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.stats import t as student


class Difference(NamedTuple):
    """A mean difference of top-1, and the ends of its interval: Student's t at 95%, over samples."""

    mean: float
    low: float
    high: float

    def __str__(self) -> str:
        interval = f"[{self.low:.3f}, {self.high:.3f}]" if np.isfinite(self.low) else "(one pair)"
        return f"{self.mean:+.3f} {interval}"


def difference(pairs: pd.Series) -> Difference:
    """The mean of differences by sample (n,), n at least 1; the interval of a single one is infinite."""
    mean, count = float(pairs.mean()), len(pairs)
    if count < 2:
        return Difference(mean, -np.inf, np.inf)
    half = float(student.ppf(0.975, count - 1) * pairs.std(ddof=1) / np.sqrt(count))
    return Difference(mean, mean - half, mean + half)
