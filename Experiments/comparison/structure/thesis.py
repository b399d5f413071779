"""Statistics of units as the thesis on sparse networks computed them, kept to reproduce its numbers.

They read all weights that the mask keeps. Mean gaps are cut to whole numbers, and 0 without weights; the first run of a
unit has one weight less; single weights and the last run of a unit have no share of signs; scores are rounded to two
digits. Dense units are one row of inputs, the image of the first layer too.
"""

import numpy as np

from Experiments.comparison.structure.clusters import NEIGHBOURS, Clusters, mean_by, runs
from Experiments.comparison.structure.graph_scores import graph_scores
from Experiments.comparison.structure.signs import flat
from Experiments.comparison.structure.statistics import mean


def thesis_statistics(signs: np.ndarray) -> dict[str, np.ndarray]:
    """Arrays (units,) for signs (units, planes, height, width).

    `weights`; `gap_mean`, 0 without weights; `runs`; `run_length`, rounded, NaN without runs; `run_sign_ratio`;
    `graph_score_4` and `graph_score_8`.
    """
    rows = flat(signs)
    counted, signed = thesis_runs(runs(rows)), _signed_runs(rows)
    scores = {
        f"graph_score_{neighbours}": graph_scores(signs, neighbours).round(2).mean(1).round(2)
        for neighbours in NEIGHBOURS
    }
    return {
        "weights": np.count_nonzero(rows, axis=1).astype(float),
        "gap_mean": _gaps(rows),
        "runs": np.bincount(counted.place, minlength=len(rows)).astype(float),
        "run_length": mean_by(counted.place, counted.size, len(rows)).round(),
        "run_sign_ratio": mean_by(signed.place, signed.sign_ratio, len(rows)),
        **scores,
    }


def thesis_means(signs: np.ndarray) -> dict[str, float]:
    """Means over the units for which each statistic is defined; that of signs is over runs, 0 without any."""
    ratios = _signed_runs(flat(signs)).sign_ratio
    means = {name: mean(values) for name, values in thesis_statistics(signs).items()}
    return means | {"run_sign_ratio": float(ratios.mean()) if len(ratios) else 0.0}


def _signed_runs(rows: np.ndarray) -> Clusters:
    found = runs(rows)
    is_last = np.append(found.place[1:] != found.place[:-1], True)[: len(found.place)]
    return found.where((found.size > 1) & ~is_last)


def thesis_runs(found: Clusters) -> Clusters:
    """The runs as the thesis counted them: the first one of each unit has one weight less."""
    is_first = np.append(True, found.place[1:] != found.place[:-1])[: len(found.place)]
    shorter = found._replace(size=found.size - is_first)
    return shorter.where(shorter.size > 0)


def _gaps(rows: np.ndarray) -> np.ndarray:
    present = rows != 0
    weights = present.sum(1)
    first, last = present.argmax(1), rows.shape[1] - 1 - present[:, ::-1].argmax(1)
    return np.where(weights > 1, (last - first) // np.maximum(weights - 1, 1), 0).astype(float)
