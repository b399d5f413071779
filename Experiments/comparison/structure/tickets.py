"""Winning tickets: sparse networks that train as fast and as well as the dense network (Frankle and Carbin 2019)."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from Experiments.comparison.networks import Network
from Utils.config.choices import DENSE
from Utils.results.summaries import read_table

TOLERANCE = 1.02
"""A ticket's lowest loss is below this multiple of the dense network's."""

_COLUMNS = [
    "network", "group", "sample", "original", "loss_of", "best_iteration", "original_best_iteration", "best_loss",
    "original_best_loss", "is_winning",
]  # fmt: skip


def winning_ticket(ticket: pd.DataFrame, original: pd.DataFrame, tolerance: float = TOLERANCE) -> dict[str, Any]:
    """Compare the curves of two trainings, tables `training` of runs.

    The ticket wins if it reaches its lowest loss no later than the original, but not before its training, and if that
    is below `tolerance` times the original's. `loss_of` is the set whose loss counts: `val`, or `test` if a training
    had no validation set. `best_iteration`, `original_best_iteration`, `best_loss` and `original_best_loss` are those
    at the first minimum.
    """
    is_validated = ticket["val_loss"].notna().any() and original["val_loss"].notna().any()
    name = "val" if is_validated else "test"
    (step, loss), (original_step, original_loss) = (_lowest(table, f"{name}_loss") for table in (ticket, original))
    return {
        "loss_of": name, "best_iteration": step, "original_best_iteration": original_step, "best_loss": loss,
        "original_best_loss": original_loss,
        "is_winning": 0 < step <= original_step and loss < tolerance * original_loss,
    }  # fmt: skip


def ticket_table(networks: Sequence[Network]) -> pd.DataFrame:
    """Winning-ticket tests of all networks against the dense ones of the same sample.

    Columns: `network`, `group`, `sample`, `original` (the dense network), and those of `winning_ticket`. Empty without
    dense networks. Networks without a table of training are left out, as are those whose losses are not numbers.
    """
    curves = {network.name: _curve(network) for network in networks}
    tested = [network for network in networks if curves[network.name] is not None]
    dense = [network for network in tested if _is_dense(network)]
    rows = [
        one.columns | {"original": original.name} | winning_ticket(curves[one.name], curves[original.name])  # type: ignore[arg-type]
        for one in tested
        for original in dense
        if one not in dense and one.sample == original.sample
    ]
    return pd.DataFrame(rows, columns=_COLUMNS)


def _curve(network: Network) -> pd.DataFrame | None:
    table = read_table(network.folder, "training")
    return table if table is not None and table["test_loss"].notna().any() else None


def _is_dense(network: Network) -> bool:
    summary = read_table(network.folder, "summary")
    return summary is not None and summary["pruner"].iloc[0] == DENSE


def _lowest(curve: pd.DataFrame, column: str) -> tuple[int, float]:
    row = curve.iloc[int(np.nanargmin(curve[column]))]
    return int(row["iteration"]), float(row[column])
