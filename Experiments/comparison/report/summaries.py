"""Short tables of a report: what the long tables of a study say about groups, in cells that people read."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from Utils.config.choices import DENSE

Tables = Mapping[str, pd.DataFrame]

_STATISTICS = ("positive_share", "runs", "run_length", "gap_mean", "graph_score_4", "filled_graph_score_4")
"""Statistics of structure that the page shows; the file has all."""


def cell(mean: float, deviation: float = np.nan) -> str:
    """A number, with its standard deviation if there is one; a dash for NaN."""
    if pd.isna(mean):
        return "-"
    return _number(mean) if pd.isna(deviation) else f"{_number(mean)} ± {_number(deviation, 2)}"


def _number(value: float, digits: int = 4) -> str:
    if float(value).is_integer():
        return f"{int(value)}"
    return f"{value:.{digits}g}" if abs(value) < 1e4 else f"{value:.3e}"


def networks(tables: Tables) -> pd.DataFrame:
    """The compared networks, without columns that none of them has."""
    return tables["networks"].dropna(axis=1, how="all")


def claims(tables: Tables) -> pd.DataFrame:
    """The claims of the thesis that could be tested."""
    table = tables["claims"]
    return table[table["verdict"] != "not tested"].drop(columns="where")


def final(tables: Tables) -> pd.DataFrame:
    """Mean ± standard deviation over samples of each result, a row per group."""
    return _over_metrics(tables["final"], "group")


def paired(tables: Tables) -> pd.DataFrame:
    """Paired tests of top-1 accuracy."""
    table = tables["paired"]
    return table[table["metric"] == "top1"].drop(columns="metric")


def densities(tables: Tables) -> pd.DataFrame:
    """Effective density of each layer, a column per group."""
    table = tables["densities"]
    table = table[table["metric"] == "effective_density"]
    return _wide(table.assign(text=_cells(table)), "layer", "group")


def network_distances(tables: Tables) -> pd.DataFrame:
    """Distances of the networks of every two groups beside those of random networks."""
    table = tables["network_distances"]
    table = table[table["reduction"] == table["reduction"].iloc[0]]
    return _by_groups(table, ["distance", "null_mean"], ["measure"])


def mask_overlaps(tables: Tables) -> pd.DataFrame:
    """Intersection over union of masks of every two groups, means over layers, beside chance."""
    return _by_groups(tables["mask_overlaps"], ["iou", "chance"])


def activation_similarity(tables: Tables) -> pd.DataFrame:
    """Correlations of matched units and CKA of every two groups, means over layers and pairs of networks."""
    table = tables["activation_similarity"]
    table = table[table["first"] != table["second"]]  # semi-matching has two directions
    return _by_groups(table, ["live_one_to_one", "live_semi", "unbiased_cka"])


def layer_structure(tables: Tables) -> pd.DataFrame:
    """A few statistics of structure, by group and layer, each with what chance gives in brackets."""
    table = tables["layer_structure"]
    table = table[(table["null_model"] == table["null_model"].iloc[0]) & table["statistic"].isin(_STATISTICS)]
    means = table.groupby(["group", "layer", "statistic"], sort=False)[["value", "null_mean"]].mean().reset_index()
    pairs = zip(means["value"], means["null_mean"], strict=True)
    means["text"] = [cell(value) if pd.isna(null) else f"{cell(value)} ({cell(null)})" for value, null in pairs]
    return _wide(means, ["group", "layer"], "statistic")


def rounding_distances(tables: Tables) -> pd.DataFrame:
    """How far roundings of the scores of supermasks differ, as shares of the layer."""
    table = tables["rounding_distances"].copy()
    counts = ["naive_kept", "probabilistic_kept", "naive_to_probabilistic", "two_probabilistic"]
    table[counts] = table[counts].div(table["size"], axis=0)
    return table.groupby(["group", "layer"], sort=False)[counts].mean().reset_index()


def operations(tables: Tables) -> pd.DataFrame:
    """Operations of each group as shares of those of the dense network."""
    shares = ["direct_inference_share", "effective_inference_share", "training_share"]
    return tables["operations"].groupby("group", sort=False)[["inference", *shares]].mean().reset_index()


def tickets(tables: Tables) -> pd.DataFrame:
    """Winning-ticket tests."""
    return tables["tickets"].drop(columns=["group", "sample"])


def calibration(tables: Tables) -> pd.DataFrame:
    """Quality of probabilities, mean ± standard deviation over samples."""
    columns = ["top1", "nll", "brier", "ece", "confidence"]
    groups = tables["calibration"].groupby("group", sort=False)[columns]
    means, deviations = groups.mean(), groups.std()
    texts = {name: [cell(*pair) for pair in zip(means[name], deviations[name], strict=True)] for name in columns}
    return pd.DataFrame({"group": means.index, **texts})


def disagreement(tables: Tables) -> pd.DataFrame:
    """Share of test images with different predictions, of the networks of every two groups."""
    return _by_groups(tables["disagreement"], ["disagreement"])


def exemplars(tables: Tables) -> pd.DataFrame:
    """How many images are exemplars of each group."""
    table = tables["exemplars"]
    is_right = table["dense_label"] == table["label"]
    counts = table.assign(dense_right=is_right).groupby("group", sort=False)["dense_right"].agg(["size", "sum"])
    calibrated = tables["calibration"]["group"].unique()
    counts = counts.reindex([group for group in calibrated if group != DENSE], fill_value=0)
    return counts.reset_index().rename(columns={"size": "exemplars", "sum": "of which dense networks are right"})


def barriers(tables: Tables) -> pd.DataFrame:
    """Barriers of loss and error between the networks of every two groups, before and after matching."""
    return _by_groups(tables["barriers"], ["barrier", "error_barrier", "train_barrier"], ["alignment"])


def _cells(table: pd.DataFrame) -> list[str]:
    return [cell(*pair) for pair in zip(table["mean"], table["sd"], strict=True)]


def _over_metrics(table: pd.DataFrame, by: str) -> pd.DataFrame:
    return _wide(table.assign(text=_cells(table)), by, "metric")


def _wide(table: pd.DataFrame, rows: str | Sequence[str], columns: str) -> pd.DataFrame:
    """The texts of a long table, a column for each value of one of its columns; orders stay."""
    rows = [rows] if isinstance(rows, str) else list(rows)
    wide = table.set_index([*rows, columns])["text"].unstack(sort=False)
    return wide.fillna("-").rename_axis(columns=None).reset_index()


def _by_groups(table: pd.DataFrame, values: Sequence[str], by: Sequence[str] = ()) -> pd.DataFrame:
    """Mean ± standard deviation over pairs of networks of values, a row for every two groups, in either order."""
    table = table.copy()
    for first, second in (("first_group", "second_group"), ("first", "second")):
        pairs = [tuple(sorted(pair)) for pair in zip(table[first], table[second], strict=True)]
        table[first], table[second] = zip(*pairs, strict=True)
    # The values of a pair of networks are averaged over its layers, and its directions, first.
    names = [*by, "first_group", "second_group"]
    of_pairs = table.groupby([*names, "first", "second"], sort=False)[list(values)].mean().reset_index()
    groups = of_pairs.groupby(names, sort=False)[list(values)]
    means, deviations, counts = groups.mean(), groups.std(), groups.size()
    texts = {name: [cell(*pair) for pair in zip(means[name], deviations[name], strict=True)] for name in values}
    short = means.index.to_frame(index=False).rename(columns={"first_group": "first", "second_group": "second"})
    return short.assign(pairs=counts.to_numpy(), **texts)
