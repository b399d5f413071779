"""Tests of groups of networks against each other: Welch's t-test and Cohen's d."""

from collections.abc import Sequence
from itertools import combinations

import numpy as np
import pandas as pd
from scipy import stats


def welch_tests(table: pd.DataFrame, by: Sequence[str], value: str = "value") -> pd.DataFrame:
    """Compare the values of every two groups at equal `by`; each row of `table` is one independent observation.

    `table` has columns `group`, `by` and the value. Columns of the result: `first` and `second` (groups), `by`,
    `n_first`, `n_second` (defined values), `difference` (mean of second - first), `t`, `dof` and `p` of the two-sided
    test of Welch, which does not assume equal variances, and `cohens_d`, the difference in pooled standard deviations.
    Undefined ones are NaN: of fewer than two values, or without any variance. No p-value is corrected for their number.
    """
    order = list(dict.fromkeys(table["group"]))
    of = table.groupby(["group", *by], sort=False)[value].agg(n="count", mean="mean", sd="std").reset_index("group")
    parts = {group: of[of["group"] == group].drop(columns="group") for group in order}
    tables = []
    for first, second in combinations(order, 2):
        both = parts[first].add_suffix("_first").join(parts[second].add_suffix("_second"), how="inner")
        tables.append(pd.DataFrame({"first": first, "second": second, **_tested(both)}, index=both.index).reset_index())
    columns = ["first", "second", *by, "n_first", "n_second", "difference", "t", "dof", "p", "cohens_d"]
    return pd.concat(tables, ignore_index=True)[columns] if tables else pd.DataFrame(columns=columns)


def _tested(both: pd.DataFrame) -> dict[str, np.ndarray]:
    """The tests of groups with columns `n`, `mean` and `sd` of the first and the second."""
    one, other = ([both[f"{name}_{side}"].to_numpy(float) for name in ("mean", "sd", "n")] for side in _SIDES)
    difference, degrees = other[0] - one[0], one[2] + other[2] - 2
    with np.errstate(divide="ignore", invalid="ignore"):
        pooled = np.sqrt(((one[2] - 1) * one[1] ** 2 + (other[2] - 1) * other[1] ** 2) / degrees)
        test = stats.ttest_ind_from_stats(*other, *one, equal_var=False)
        errors = [sd**2 / n for _, sd, n in (one, other)]
        dof = sum(errors) ** 2 / sum(error**2 / (n - 1) for error, n in zip(errors, (one[2], other[2]), strict=True))
        found = {"t": test.statistic, "dof": dof, "p": test.pvalue, "cohens_d": difference / pooled}
    defined = {name: np.where(pooled > 0, values, np.nan) for name, values in found.items()}
    return {"n_first": one[2].astype(int), "n_second": other[2].astype(int), "difference": difference, **defined}


_SIDES = ("first", "second")
