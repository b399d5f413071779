"""Statistics of the structure of a layer: of each unit, of the whole layer, and what chance gives.

All functions read signs (units, planes, height, width).
"""

from functools import cache

import numpy as np

from Experiments.comparison.structure.chance import (
    count_probability,
    neighbour_probability,
    pattern_probability,
    same_sign_probability,
)
from Experiments.comparison.structure.clusters import NEIGHBOURS, clusters, mean_by, runs
from Experiments.comparison.structure.gaps import gaps, nearest
from Experiments.comparison.structure.graph_scores import graph_scores, unit_scores
from Experiments.comparison.structure.patterns import all_patterns
from Experiments.comparison.structure.signs import flat

_LONG = 2
"""Weights of the shortest run whose signs are compared."""

_MOST_CELLS = 12
"""Cells of the largest kernels of which all patterns are listed."""


def unit_statistics(signs: np.ndarray) -> dict[str, np.ndarray]:
    """Statistics of each unit, arrays (units,), NaN where undefined.

    `weights`; `positive_share` of them; `gap_mean`, `gap_median`, `gap_min` of consecutive positions in the flattened
    inputs; `nearest`, the mean distance to the nearest weight of the same plane; `runs` of consecutive positions,
    `long_runs` with two weights or more, `run_length`, `run_sign_ratio` (mean share of positive weights of long runs),
    `sign_agreement` (share of neighbours in a run that have the same sign); `clusters_4`, `cluster_size_4`,
    `graph_score_4` (mean of all planes) and `filled_graph_score_4` (of planes with a weight), and the same with 8
    neighbours.
    """
    rows = flat(signs)
    weights = np.count_nonzero(rows, axis=1)
    gap = gaps(rows)
    with np.errstate(invalid="ignore"):
        values = {"weights": weights, "positive_share": (rows > 0).sum(1) / weights}
    values |= {"gap_mean": gap.mean, "gap_median": gap.median, "gap_min": gap.least, "nearest": nearest(signs)}
    values |= _run_statistics(rows)
    for neighbours in NEIGHBOURS:
        found = clusters(signs, neighbours)
        unit = found.place // signs.shape[1]
        values[f"clusters_{neighbours}"] = np.bincount(unit, minlength=len(signs))
        values[f"cluster_size_{neighbours}"] = mean_by(unit, found.size, len(signs))
        scores = unit_scores(signs, neighbours)
        values[f"graph_score_{neighbours}"], values[f"filled_graph_score_{neighbours}"] = scores
    return {name: value.astype(float) for name, value in values.items()}


def _run_statistics(rows: np.ndarray) -> dict[str, np.ndarray]:
    found = runs(rows)
    long = found.where(found.size >= _LONG)
    products = rows[:, 1:] * rows[:, :-1]
    with np.errstate(invalid="ignore"):
        agreement = (products > 0).sum(1) / np.count_nonzero(products, axis=1)
    return {
        "runs": np.bincount(found.place, minlength=len(rows)),
        "long_runs": np.bincount(long.place, minlength=len(rows)),
        "run_length": mean_by(found.place, found.size, len(rows)),
        "run_sign_ratio": mean_by(long.place, long.sign_ratio, len(rows)),
        "sign_agreement": agreement,
    }


def layer_statistics(signs: np.ndarray) -> dict[str, float]:
    """Means over the units for which each statistic of `unit_statistics` is defined, and statistics of the layer.

    `weights_sd` over units, `kernel_weights` and `kernel_weights_sd` of planes, `empty_kernels` (share of planes),
    `neighbours_4` and `neighbours_8`: the probability that two weights of one plane are neighbours.
    """
    per_kernel = np.count_nonzero(signs, axis=(2, 3))
    values = {name: mean(value) for name, value in unit_statistics(signs).items()}
    return values | {
        "weights_sd": float(per_kernel.sum(1).std()),
        "kernel_weights": float(per_kernel.mean()),
        "kernel_weights_sd": float(per_kernel.std()),
        "empty_kernels": float((per_kernel == 0).mean()),
        **_neighbour_shares(signs != 0, per_kernel),
    }


def mean(values: np.ndarray) -> float:
    """The mean of the values that are not NaN; NaN without any."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else np.nan


def _neighbour_shares(present: np.ndarray, per_kernel: np.ndarray) -> dict[str, float]:
    pairs = int((per_kernel * (per_kernel - 1) // 2).sum())
    straight = [(present[..., 1:], present[..., :-1]), (present[..., 1:, :], present[..., :-1, :])]
    slanted = [(present[..., 1:, 1:], present[..., :-1, :-1]), (present[..., 1:, :-1], present[..., :-1, 1:])]
    found = [sum(int((one & other).sum()) for one, other in sides) for sides in (straight, straight + slanted)]
    return {f"neighbours_{n}": count / pairs if pairs else np.nan for n, count in zip(NEIGHBOURS, found, strict=True)}


def expectations(signs: np.ndarray) -> dict[str, float]:
    """What chance gives exactly: those of `layer_statistics` that combinatorics gives, if weights are shuffled.

    The weights of the layer, with their signs, are at random positions.
    """
    weights, positive = int(np.count_nonzero(signs)), int((signs > 0).sum())
    height, width = signs.shape[2:]
    cells = height * width
    share = positive / weights if weights else np.nan
    values = {
        "weights": weights / len(signs),
        "kernel_weights": weights * cells / signs.size,
        "empty_kernels": float(count_probability(signs, cells, 0)),
        "positive_share": share,
        "run_sign_ratio": share,
        "sign_agreement": same_sign_probability(weights, positive),
        "runs": _expected_runs(signs, 1),
        "long_runs": _expected_runs(signs, _LONG),
        **{f"neighbours_{count}": neighbour_probability(height, width, count) for count in NEIGHBOURS},
    }
    if cells <= _MOST_CELLS:
        probability = pattern_probability(signs, np.arange(cells + 1), cells)
        for neighbours in NEIGHBOURS:
            values[f"graph_score_{neighbours}"] = float(probability @ _score_sums(height, width, neighbours))
    return values


def _expected_runs(signs: np.ndarray, least: int) -> float:
    """The expected number of runs of a unit with at least so many weights."""
    later = flat(signs).shape[1] - least
    if later < 0:
        return 0.0
    # A run begins at the first input, or at a weight whose input before has none.
    probability = pattern_probability(signs, least, least)
    return float(probability + (later and later * pattern_probability(signs, least, least + 1)))


@cache
def _score_sums(height: int, width: int, neighbours: int) -> np.ndarray:
    """The sums (cells + 1,) of the scores of all patterns with each number of weights."""
    patterns = all_patterns(height, width)
    return np.bincount(patterns.sum((1, 2)), graph_scores(patterns, neighbours))
