"""Figure `pruned-weights`: histograms of the magnitudes of the weights left after pruning a trained network."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from Utils.figures.look import Style
from Utils.figures.train_then_prune.histograms import histograms_by_share

_BINS = 300


def pruned_weights(
    rows: pd.DataFrame, style: Style, title: str = "", order: Sequence[str] | None = None
) -> list[tuple[str, Figure]]:
    """For each pruned share, a name and a figure of one histogram per hidden layer; the lowest sample is shown.

    Raises `NothingToDrawError` if the networks were not pruned after training or their weights were not kept.
    """
    return histograms_by_share(rows, title, lambda weight: np.abs(weight).ravel(), _BINS, "Size of weights")
