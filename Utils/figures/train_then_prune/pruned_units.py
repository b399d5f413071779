"""Figure `pruned-units`: histograms of the norms of the units left after pruning a trained network."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from Utils.figures.look import Style
from Utils.figures.train_then_prune.histograms import histograms_by_share

_BINS = 100


def pruned_units(
    rows: pd.DataFrame, style: Style, title: str = "", order: Sequence[str] | None = None
) -> list[tuple[str, Figure]]:
    """For each pruned share, a name and a figure of one histogram per hidden layer; the lowest sample is shown.

    Raises `NothingToDrawError` if the networks were not pruned after training or their weights were not kept.
    """
    return histograms_by_share(rows, title, _unit_norms, _BINS, "Norm of units")


def _unit_norms(weight: np.ndarray) -> np.ndarray:
    """The Euclidean norm of each unit's weights (units,)."""
    return np.linalg.norm(weight.reshape(len(weight), -1), axis=1)
