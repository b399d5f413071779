"""Fits of a power law: least squares and correlation of logarithms."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike


class LogFit(NamedTuple):
    """Exponent of a power law, and how well it fits."""

    slope: float
    correlation: float


def log_fit(x: ArrayLike, y: ArrayLike) -> LogFit:
    """Slope of the least-squares line through the logarithms of positive `x` and `y`, and their Pearson correlation.

    Points with y = 0, which have no logarithm, are left out. Where a value is not defined, as the slope of points at
    one x, it is nan.
    """
    points = np.stack([np.asarray(x, dtype=float), np.asarray(y, dtype=float)])
    logs = np.log(points[:, points[1] > 0])
    if logs.shape[1] < 2:
        return LogFit(np.nan, np.nan)
    deviations = logs - logs.mean(axis=1, keepdims=True)
    (xx, xy), (_, yy) = deviations @ deviations.T
    return LogFit(float(xy / xx) if xx else np.nan, float(xy / np.sqrt(xx * yy)) if xx * yy else np.nan)
