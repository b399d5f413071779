"""What happens to a trained network that is pruned without training on?"""

import itertools
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from Utils.errors import UserError
from Utils.figures.look import NothingToDrawError, Style, add_legend, new_figure
from Utils.figures.series import make_series
from Utils.results.summaries import read_table

_BLUE, _RED = "#0072b2", "#d55e00"
_FEWEST_POINTS = 2
_LINES = ("-", "--", ":", "-.")
_UNITS = {"Weight": "single weights", "Unit": "whole units"}
_BINS = {"weights": 300, "units": 100}
_WORDS = {"weights": "size of weights", "units": "norm of units"}


def weights_and_units(rows: pd.DataFrame, style: Style, title: str = "", order: Sequence[str] | None = None) -> Figure:
    """Test accuracy and loss against the share that is pruned, of weights and of units; means, bands over samples."""
    figure, axes = new_figure(title, 1, 2, (6.4, 3.1))
    handles = []
    for (label, tables), linestyle in zip(_variants(rows, "results"), itertools.cycle(_LINES), strict=False):
        by_share = pd.concat(tables).groupby("Sparsity (%)")
        for axis, what in zip(axes[0], ("Accuracy", "Loss:"), strict=True):
            for unit, colour, marker in (("Weight", _BLUE, "o"), ("Unit", _RED, "s")):
                values = by_share[f"Test {what} ({unit})"]
                means = values.mean()
                if len(tables) > 1:
                    axis.fill_between(means.index, values.min(), values.max(), color=colour, alpha=0.18, linewidth=0)
                handles += axis.plot(
                    means.index, means, color=colour, marker=marker, linestyle=linestyle,
                    label=f"{_UNITS[unit]}{label}", gid=f"{unit}|{what}{label}",
                )  # fmt: skip
    if not handles:
        raise NothingToDrawError("these networks were not pruned after training")
    for axis, word in zip(axes[0], ("Top-1 accuracy", "Loss"), strict=True):
        axis.set(xlabel="Share pruned in each hidden layer", ylabel=word)
    add_legend(figure, handles)
    return figure


def _variants(rows: pd.DataFrame, name: str) -> list[tuple[str, list[pd.DataFrame]]]:
    """For each choice of settings, what tells it from the others, and a table of each of its samples."""
    found = []
    for item in make_series(rows, lambda pruner: ("", _BLUE, "o")):
        tables = [table for folder in item.rows["folder"] if (table := read_table(folder, name)) is not None]
        if tables:
            found.append((item.label, tables))
    return found


def trained(rows: pd.DataFrame, style: Style, title: str = "", order: Sequence[str] | None = None) -> Figure:
    """Loss and accuracy on training and validation images while the network is trained; means over samples."""
    figure, axes = new_figure(title, 1, 2, (6.4, 3.1))
    handles = []
    for (variant, tables), linestyle in zip(_variants(rows, "training"), itertools.cycle(_LINES), strict=False):
        means = pd.concat(tables).groupby("iteration").mean()
        if len(means) < _FEWEST_POINTS:
            continue
        for axis, what in zip(axes[0], ("loss", "top1"), strict=True):
            for part, colour, label in (("train", _RED, "training"), ("val", _BLUE, "validation")):
                values = means[f"{part}_{what}"].dropna()
                handles += axis.plot(
                    values.index, values, color=colour, linestyle=linestyle, label=f"{label}{variant}",
                    gid=f"{part}_{what}{variant}",
                )  # fmt: skip
    if not handles:
        raise NothingToDrawError("these networks were not trained")
    for axis, word in zip(axes[0], ("Loss", "Top-1 accuracy"), strict=True):
        axis.set(xlabel="Iteration", ylabel=word)
    axes[0, 0].set_yscale("log")
    add_legend(figure, handles)
    return figure


def pruned_weights(
    rows: pd.DataFrame, style: Style, title: str = "", order: Sequence[str] | None = None
) -> list[tuple[str, Figure]]:
    """For each share, histograms of the sizes of each layer's weights that are left; the lowest sample."""
    return _frames(rows, title, "weights")


def pruned_units(
    rows: pd.DataFrame, style: Style, title: str = "", order: Sequence[str] | None = None
) -> list[tuple[str, Figure]]:
    """For each share, histograms of the norms of each layer's units that are left; the lowest sample."""
    return _frames(rows, title, "units")


def _frames(rows: pd.DataFrame, title: str, kind: str) -> list[tuple[str, Figure]]:
    frames = []
    for item in make_series(rows, lambda pruner: ("", _BLUE, "o")):
        folder = Path(item.rows.sort_values("sample")["folder"].iloc[0])
        table = read_table(folder, "results")
        if table is None:
            continue
        layers = _sizes(folder, kind)
        ranges = {name: (0.0, float(values.max()) or 1.0) for name, values in layers.items()}
        words = item.label.strip(" ()").replace(", ", "_")
        for share in table["Sparsity (%)"]:
            name = f"{words}_k={share:g}" if words else f"k={share:g}"
            heading = f"{title}, k = {share:g}{item.label}"
            frames.append((name, _histograms(layers, ranges, Decimal(repr(share)), kind, heading)))
    if not frames:
        raise NothingToDrawError("these networks were not pruned after training")
    return frames


def _sizes(folder: Path, kind: str) -> dict[str, np.ndarray]:
    """Sizes of each layer's weights, or norms of its units; the output layer is not among them."""
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    layers = read_table(folder, "layers")
    try:
        weights = load_file(folder / "weights.safetensors")
    except (OSError, SafetensorError) as error:
        raise NothingToDrawError("their weights were not kept") from error
    if layers is None or not set(layers["layer"]) <= weights.keys():
        raise UserError(f"{folder} is damaged; delete it and run it again")
    hidden = {name: weights[name] for name in list(layers["layer"])[:-1]}
    if kind == "weights":
        return {name: np.abs(weight).ravel() for name, weight in hidden.items()}
    return {name: np.linalg.norm(weight.reshape(len(weight), -1), axis=1) for name, weight in hidden.items()}


def _histograms(
    layers: dict[str, np.ndarray], ranges: dict[str, tuple[float, float]], share: Decimal, kind: str, title: str
) -> Figure:
    columns = min(2, len(layers))
    lines = -(-len(layers) // columns)
    figure, axes = new_figure(title, lines, columns, (3.2 * columns, 0.5 + 1.9 * lines))
    for axis, (name, values) in zip(axes.ravel(), layers.items(), strict=False):
        left = np.sort(values)[int(len(values) * share) :]
        axis.hist(left, bins=_BINS[kind], range=ranges[name], color=_BLUE, gid=name)
        axis.set_title(f"{name.removesuffix('.weight')}: {len(left):,} left", fontsize=8)
        axis.set_xlabel(_WORDS[kind].capitalize())
    for axis in axes.ravel()[len(layers) :]:
        axis.set_visible(False)
    return figure
