"""Histograms per hidden layer of a trained network, one figure per pruned share.

Shared by the figures `pruned-weights` and `pruned-units`.
"""

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from Utils.figures.look import BLUE, NothingToDrawError, new_figure
from Utils.figures.train_then_prune.variants import unstyled_series
from Utils.files import DamagedError, is_file, reading
from Utils.results.digests import read_file
from Utils.results.summaries import read_table


def histograms_by_share(
    rows: pd.DataFrame, title: str, magnitudes_of: Callable[[np.ndarray], np.ndarray], bins: int, label: str
) -> list[tuple[str, Figure]]:
    """For each variant of settings and each pruned share, a name and a figure; the lowest sample is shown.

    `magnitudes_of` maps a layer's weight to the magnitudes (n,) by which it was pruned; `label` names them on the axis.
    Raises `NothingToDrawError` if the networks were not pruned after training or their weights were not kept.
    """
    figures = []
    for item in unstyled_series(rows):
        folder = Path(item.rows.sort_values("sample")["folder"].iloc[0])
        table = read_table(folder, "results")
        if table is None:
            continue
        layers = {name: magnitudes_of(weight) for name, weight in _hidden_weights(folder).items()}
        ranges = {name: (0.0, float(magnitudes.max()) or 1.0) for name, magnitudes in layers.items()}
        variant = item.label.replace(", ", "_")
        for percent in table["Sparsity (%)"]:
            share = Decimal(str(percent)) / 100
            name = "_".join(filter(None, (variant, f"k={share.normalize():f}")))
            heading = ", ".join(filter(None, (title, item.label, f"{percent:g}% pruned")))
            figures.append((name, _histograms(layers, ranges, share, bins, label, heading)))
    if not figures:
        raise NothingToDrawError("these networks were not pruned after training")
    return figures


def _hidden_weights(folder: Path) -> dict[str, np.ndarray]:
    """The weights of a run's layers by name, without the output layer; raises `DamagedError` if the run is damaged."""
    from safetensors.numpy import load

    layers, path = read_table(folder, "layers"), folder / "weights.safetensors"
    if not is_file(path):
        raise NothingToDrawError("their weights were not kept")
    with reading(path, "the weights of a run"):
        weights = load(read_file(folder, path.name))
    if layers is None or not set(layers["layer"]) <= weights.keys():
        raise DamagedError(f"{folder} is damaged: its layers have no weights")
    return {name: weights[name] for name in list(layers["layer"])[:-1]}


def _histograms(
    layers: dict[str, np.ndarray],
    ranges: dict[str, tuple[float, float]],
    share: Decimal,
    bins: int,
    label: str,
    title: str,
) -> Figure:
    """One histogram per layer of the magnitudes left after the smallest `share` is pruned."""
    columns = min(2, len(layers))
    lines = -(-len(layers) // columns)
    figure, axes = new_figure(title, lines, columns, (3.2 * columns, 0.5 + 1.9 * lines))
    for axis, (name, magnitudes) in zip(axes.ravel(), layers.items(), strict=False):
        left = np.sort(magnitudes)[int(len(magnitudes) * share) :]
        axis.hist(left, bins=bins, range=ranges[name], color=BLUE, gid=name)
        axis.set_title(f"{name.removesuffix('.weight')}: {len(left):,} left", fontsize=8)
        axis.set_xlabel(label)
    for axis in axes.ravel()[len(layers) :]:
        axis.set_visible(False)
    return figure
