"""Outcomes of compared networks as tidy tables: accuracy, predictions, calibration, curves and operations.

Final tables and curves read the stored tables of runs, predictions what `--save_predictions` stored.
"""

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from Experiments.comparison.networks import Network
from Experiments.comparison.outcomes import calibration
from Experiments.comparison.outcomes.agreement import (
    class_accuracies,
    disagreements,
    exemplars,
    modal_labels,
    votes_for,
)
from Experiments.comparison.outcomes.operations import operations_of
from Experiments.comparison.pairs import pair_columns
from Experiments.comparison.samples import means, paired_tests
from Utils.config.choices import DENSE
from Utils.errors import UserError
from Utils.results.predictions import Predictions, has_predictions, read_predictions
from Utils.results.summaries import read_table

FINAL = ("top1", "best_top1", "top5", "test_loss", "direct_sparsity", "effective_sparsity")
"""Columns of summaries in the final tables."""

CURVES = ("top1", "test_loss", "train_loss", "train_top1", "val_top1", "val_loss")
"""Columns of `training.csv` with curves."""


def final_tables(networks: Sequence[Network]) -> dict[str, pd.DataFrame]:
    """The results of the groups over their samples.

    `final`: `group`, and the columns of `means` for the metrics of `FINAL`. `paired`: the columns of `paired_tests`
    for accuracies and loss.
    """
    rows = pd.DataFrame([{**network.columns, **_summary(network)[list(FINAL)]} for network in networks])
    return {"final": means(rows, ["group"], FINAL), "paired": paired_tests(rows, ["top1", "best_top1", "test_loss"])}


def curve_tables(networks: Sequence[Network]) -> dict[str, pd.DataFrame]:
    """`curves`: `group`, `iteration`, `epoch` and the columns of `means` over samples, for the metrics of `CURVES`.

    A run of `multishot` has the curve of its last level. Samples that were tested at other iterations have other rows.
    """
    tables = [(network, read_table(network.folder, "training")) for network in networks]
    rows = [table.assign(group=network.group) for network, table in tables if table is not None]
    if not rows:
        return {"curves": pd.DataFrame(columns=["group", "iteration", "epoch", "metric", "n", "mean", "sd"])}
    curves = means(pd.concat(rows), ["group", "iteration", "epoch"], CURVES)
    return {"curves": curves[curves["n"] > 0].reset_index(drop=True)}


def operation_tables(networks: Sequence[Network]) -> dict[str, pd.DataFrame]:
    """`operations`: `network`, `group`, `sample`, and the columns of `operations_of`."""
    return {"operations": pd.DataFrame([{**one.columns, **operations_of(one.folder)} for one in networks])}


def stored_predictions(networks: Sequence[Network]) -> dict[str, Predictions]:
    """The stored predictions of networks by name, in their order.

    Raises `UserError` if a run has none, or if two runs were not tested on the same images.
    """
    lacking = [network.name for network in networks if not has_predictions(network.folder)]
    if lacking:
        raise UserError(
            f"{', '.join(lacking)}: no predictions are stored; repeat the commands of these runs with "
            "--save_predictions --overwrite"
        )
    predictions = {network.name: read_predictions(network.folder) for network in networks}
    first = next(iter(predictions), "")
    for name, other in predictions.items():
        if not np.array_equal(other.labels, predictions[first].labels):
            raise UserError(f"{first} and {name} were tested on other images; compare networks of one test set")
    return predictions


def prediction_tables(
    networks: Sequence[Network], predictions: Mapping[str, Predictions], bins: int = calibration.BINS
) -> dict[str, pd.DataFrame]:
    """What networks say about each test image; `predictions` by name of the network, in the order of the networks.

    - `calibration`: `network`, `group`, `sample`, `nll`, `brier`, `ece` (expected calibration error), `confidence`
      (mean probability of the predicted class), `top1`;
    - `reliability`: the columns of `reliability_curve` for each network;
    - `class_accuracy`: for each network (`is_dense` tells the dense ones) and `class`, the `count` of its images,
      `accuracy`, and `change`: accuracy minus the mean of the dense networks, NaN without any;
    - `disagreement`: for each pair, the share of images with different predictions;
    - `exemplars`: for each group but the dense one, the images of `exemplars`: `image` (number in the test set),
      `label`, `dense_label`, `pruned_label`, and the shares of networks that predict these, `dense_share` and
      `pruned_share`; empty without dense networks.
    """
    of = [predictions[network.name] for network in networks]
    is_dense = np.array([_summary(network)["pruner"] == DENSE for network in networks])
    return {
        "calibration": pd.DataFrame([_calibration(*pair, bins) for pair in zip(networks, of, strict=True)]),
        "reliability": pd.concat([_reliability(*pair, bins) for pair in zip(networks, of, strict=True)]),
        "class_accuracy": _class_accuracy(networks, of, is_dense),
        "disagreement": _disagreement(networks, of),
        "exemplars": _exemplars(networks, of, is_dense),
    }


def _calibration(network: Network, one: Predictions, bins: int) -> dict[str, Any]:
    logs, probabilities = one.log_probabilities.astype(np.float64), one.probabilities
    curve = _curve(one, bins)
    return {
        **network.columns,
        "nll": calibration.negative_log_likelihood(logs, one.labels),
        "brier": calibration.brier_score(probabilities, one.labels),
        "ece": calibration.expected_calibration_error(curve),
        "confidence": _confidences(one).mean(),
        "top1": (one.predicted == one.labels).mean(),
    }


def _reliability(network: Network, one: Predictions, bins: int) -> pd.DataFrame:
    curve = _curve(one, bins)
    return pd.DataFrame(network.columns, index=curve.index).join(curve)


def _curve(one: Predictions, bins: int) -> pd.DataFrame:
    return calibration.reliability_curve(_confidences(one), one.predicted == one.labels, bins)


def _confidences(one: Predictions) -> np.ndarray:
    return np.take_along_axis(one.probabilities, one.predicted.astype(np.int64)[:, None], axis=1)[:, 0]


def _class_accuracy(networks: Sequence[Network], of: Sequence[Predictions], is_dense: np.ndarray) -> pd.DataFrame:
    classes = of[0].log_probabilities.shape[1]
    accuracies = np.stack([class_accuracies(one.labels, one.predicted, classes) for one in of])
    dense = accuracies[is_dense].mean(axis=0) if is_dense.any() else np.full(classes, np.nan)
    columns = {"class": range(classes), "count": np.bincount(of[0].labels, minlength=classes)}
    parts = [
        pd.DataFrame({**network.columns, "is_dense": is_one, **columns, "accuracy": own, "change": own - dense})
        for network, is_one, own in zip(networks, is_dense, accuracies, strict=True)
    ]
    return pd.concat(parts, ignore_index=True)


def _disagreement(networks: Sequence[Network], of: Sequence[Predictions]) -> pd.DataFrame:
    matrix = disagreements(np.stack([one.predicted for one in of]))
    pairs = combinations(range(len(networks)), 2)
    rows = [{**pair_columns(networks[i], networks[j]), "disagreement": matrix[i, j]} for i, j in pairs]
    return pd.DataFrame(rows)


def _exemplars(networks: Sequence[Network], of: Sequence[Predictions], is_dense: np.ndarray) -> pd.DataFrame:
    classes, labels = of[0].log_probabilities.shape[1], of[0].labels
    predicted, groups = np.stack([one.predicted for one in of]), np.array([network.group for network in networks])
    parts = []
    for group in pd.unique(groups[~is_dense]) if is_dense.any() else ():
        dense, pruned = predicted[is_dense], predicted[(groups == group) & ~is_dense]
        images = exemplars(dense, pruned, classes)
        columns: dict[str, Any] = {"group": group, "image": images, "label": labels[images]}
        for name, votes in (("dense", dense[:, images]), ("pruned", pruned[:, images])):
            columns[f"{name}_label"] = chosen = modal_labels(votes, classes)
            columns[f"{name}_share"] = votes_for(votes, chosen, classes)
        parts.append(pd.DataFrame(columns))
    names = ["group", "image", "label", "dense_label", "pruned_label", "dense_share", "pruned_share"]
    return pd.concat(parts, ignore_index=True)[names] if parts else pd.DataFrame(columns=names)


def _summary(network: Network) -> pd.Series:
    table = read_table(network.folder, "summary")
    assert table is not None
    return table.iloc[0]
