"""Relations: how much of the accuracy each compression explains, and how each statistic ranks networks at one level.

A level holds the networks of one target and one length of training whose effective weights are the target's, up to
`_NEAR`. Networks of one pruner are alike, so intervals come from resampled pruners, not from resampled networks.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd
from scipy.stats import rankdata
from sklearn.isotonic import IsotonicRegression

from Utils.config.choices import DENSE

_NEAR = 0.05
"""Largest share by which the effective weights of a network may miss their target at a level."""

_LEAST = 5
"""Smallest number of networks of a level."""

_LEAST_PRUNERS = 3
"""Pruners without which resamples of them say nothing."""

_INTERVAL = (2.5, 97.5)
"""Percentiles of the resamples that bound an interval."""

Level = tuple[int, float]
"""Iterations of training, and target compression."""

_LEVEL = ["iterations", "target_compression"]

EXPLAINED_COLUMNS = ("iterations", "against", "networks", "share")
CORRELATION_COLUMNS = (*_LEVEL, "statistic", "networks", "distinct", "spearman", "low", "high")


def explained(networks: pd.DataFrame) -> pd.DataFrame:
    """The share of the variance of top-1 that direct and effective compression explain, by length of training.

    The share is R² of the best falling curve (isotonic regression) of top-1 against the logarithm of compression. It is
    that of all pruned networks that are no controls and have not collapsed. A length of training with a single target
    is left out: there, compression hardly varies.
    """
    rows = []
    for iterations, group in _compared(networks).groupby("iterations"):
        if group["target_compression"].nunique() < 2:
            continue
        for name in ("direct_compression", "effective_compression"):
            rows.append((iterations, name, len(group), _explained_share(group[name], group["top1"])))
    return pd.DataFrame(rows, columns=list(EXPLAINED_COLUMNS))


def levels(networks: pd.DataFrame) -> Iterator[tuple[Level, pd.DataFrame]]:
    """Yield each level with its networks that are no controls."""
    for level, group in by_level(at_target(_compared(networks))):
        if len(group) >= _LEAST:
            yield level, group


def at_target(networks: pd.DataFrame) -> pd.DataFrame:
    """The networks whose effective weights are those of their target, nearly."""
    return networks[(networks["kept_effective"] / networks["target_kept"] - 1).abs() <= _NEAR]


def by_level(rows: pd.DataFrame) -> Iterator[tuple[Level, pd.DataFrame]]:
    """Yield each level of the rows of a table, in order, with its rows."""
    for key, group in rows.groupby(_LEVEL):
        iterations, compression = np.array(key)
        yield (int(iterations), float(compression)), group


def correlations(
    networks: pd.DataFrame, statistics: Sequence[str], generator: np.random.Generator, resamples: int
) -> pd.DataFrame:
    """Spearman correlation of top-1 with each statistic at each level, with bootstrap intervals over pruners.

    `distinct` is the number of different values of the statistic; with a single one, there is no correlation, and the
    cells are empty.
    """
    rows = []
    for level, group in levels(networks):
        for name in statistics:
            known = group.dropna(subset=[name])
            values, pruners = known[name].to_numpy(float), known["pruner"].to_numpy()
            numbers = _with_interval(values, known["top1"].to_numpy(), pruners, generator, resamples)
            rows.append((*level, name, len(known), len(np.unique(values)), *numbers))
    return pd.DataFrame(rows, columns=list(CORRELATION_COLUMNS))


def spearman(left: np.ndarray, right: np.ndarray) -> float:
    """Spearman correlation of two series (n,); nan if one of them is constant."""
    ranks = rankdata(np.stack([left, right]), axis=1)
    ranks -= ranks.mean(1, keepdims=True)
    spread = np.sqrt((ranks**2).sum(1)).prod()
    return float(ranks[0] @ ranks[1] / spread) if spread else np.nan


def _with_interval(
    values: np.ndarray, accuracy: np.ndarray, pruners: np.ndarray, generator: np.random.Generator, resamples: int
) -> tuple[float, float, float]:
    """The correlation, and the ends of its interval from resampled pruners; all nan for too few or equal values.

    Resamples in which a series is constant have no correlation and are left out. There is no interval of few pruners.
    """
    if len(values) < _LEAST or len(np.unique(values)) < 2:
        return np.nan, np.nan, np.nan
    members = [np.flatnonzero(pruners == name) for name in pd.unique(pruners)]
    if len(members) < _LEAST_PRUNERS:
        return spearman(values, accuracy), np.nan, np.nan
    drawn = generator.integers(len(members), size=(resamples, len(members)))
    picks = (np.concatenate([members[number] for number in row]) for row in drawn)
    found = np.array([spearman(values[pick], accuracy[pick]) for pick in picks])
    found = found[~np.isnan(found)]
    low, high = np.percentile(found, _INTERVAL) if len(found) else (np.nan, np.nan)
    return spearman(values, accuracy), float(low), float(high)


def _compared(networks: pd.DataFrame) -> pd.DataFrame:
    """The pruned networks that are no controls and have a path left."""
    is_pruned = networks["pruner"] != DENSE
    return networks[is_pruned & (networks["control"] == "none") & (networks["kept_effective"] > 0)]


def _explained_share(compression: pd.Series, accuracy: pd.Series) -> float:
    fitted = IsotonicRegression(increasing=False).fit_transform(np.log(compression), accuracy)
    total = float(((accuracy - accuracy.mean()) ** 2).sum())
    return 1 - float(((accuracy - fitted) ** 2).sum()) / total if total else float("nan")
