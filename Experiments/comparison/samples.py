"""Statistics over samples: means and standard deviations of groups, paired tests between them, and bands of curves."""

from collections.abc import Sequence
from itertools import combinations

import numpy as np
import pandas as pd
from scipy import stats

LEAST_FOR_WILCOXON = 6
"""Pairs from which on the two-sided Wilcoxon test can give a p-value below 0.05: the least one is 2 / 2^pairs."""


def means(table: pd.DataFrame, by: Sequence[str], values: Sequence[str]) -> pd.DataFrame:
    """Mean and standard deviation over the rows of a table that agree in `by`, a row for each value.

    Columns: `by`, `metric`, `n`, `mean`, `sd`. `n` counts the finite values; `sd` is the sample standard deviation,
    with n - 1 in the denominator, and NaN for one value.
    """
    long = table.melt(list(by), list(values), "metric", "value")
    long["value"] = long["value"].astype(float).where(lambda column: np.isfinite(column))
    groups = long.groupby([*by, "metric"], sort=False, observed=True)["value"]
    return groups.agg(n="count", mean="mean", sd="std").reset_index()


def paired_tests(table: pd.DataFrame, values: Sequence[str]) -> pd.DataFrame:
    """Tests of every two groups, paired by sample: the same initial weights and order of images, other masks.

    `table` has columns `group`, `sample` and the values, one row per network. Columns: `first`, `second` (groups),
    `metric`, `n` (samples that both have), `difference` (mean of second - first), `sd` of the differences, `t` and
    `t_p` of the two-sided paired t-test, `wilcoxon_p` of the two-sided signed-rank test from six pairs on. What is not
    defined is NaN: tests of fewer pairs, and of differences that do not vary. No p-value is corrected for the number
    of tests.
    """
    rows = []
    for metric in values:
        by_sample = table.pivot_table(metric, "sample", "group", sort=False, dropna=False)
        for first, second in combinations(table["group"].unique(), 2):
            differences = (by_sample[second] - by_sample[first]).dropna().to_numpy()
            rows.append({"first": first, "second": second, "metric": metric, **_tested(differences)})
    columns = ["first", "second", "metric", "n", "difference", "sd", "t", "t_p", "wilcoxon_p"]
    return pd.DataFrame(rows, columns=columns)


def _tested(differences: np.ndarray) -> dict[str, float]:
    count = len(differences)
    row = {"n": count, "difference": differences.mean() if count else np.nan}
    if count < 2:
        return row
    row["sd"] = differences.std(ddof=1)
    if np.ptp(differences) > 0:
        row["t"], row["t_p"] = np.asarray(stats.ttest_1samp(differences, 0.0)).tolist()
        if count >= LEAST_FOR_WILCOXON:
            row["wilcoxon_p"] = np.asarray(stats.wilcoxon(differences)).tolist()[1]
    return row
