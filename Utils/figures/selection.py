"""Selection of results: the flags of `visualization.py`, and the rows of each figure."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from Utils.config.choices import DENSE, EFFECTIVE_ALIASES, EFFECTIVE_TYPES, PRUNING_TYPES
from Utils.config.fields import POSITIVE, Check, setting
from Utils.errors import UserError
from Utils.figures.labels import variant_of
from Utils.results.folders import folder_name

RISING_PAIR: Check = (
    lambda values: len(values) == 2 and values[0] < values[1],
    "two numbers, the lower one first",
)


@dataclass(frozen=True)
class Plot:
    """Flags of `visualization.py`: kinds of figures to draw, and results to draw them from."""

    out_path: str = setting("Results", "results folder; figures are written to its subfolder figures", identity=False)
    plot_type: tuple[str, ...] | None = setting(
        None, "kinds of figures (default: all)", choices="figure", sequence=True
    )
    experiment: str | None = setting(None, "only results of this experiment", choices="experiment", identity=False)
    architecture: tuple[str, ...] | None = setting(
        None, "only results of these networks", choices="architecture", sequence=True
    )
    data: tuple[str, ...] | None = setting(None, "only results on these data sets", choices="data", sequence=True)
    pruners_to_display: tuple[str, ...] | None = setting(
        None, "pruners, in the order of the legend (default: all)", choices="pruner", sequence=True
    )
    pruning_type: tuple[str, ...] | None = setting(
        None, "one figure for each of these pruning types (default: all)", choices=PRUNING_TYPES, sequence=True
    )
    effective_type: str = setting(
        "exact", "how effective compression is counted", choices=EFFECTIVE_TYPES, aliases=EFFECTIVE_ALIASES,
        identity=False,
    )  # fmt: skip
    ylim: tuple[float, ...] | None = setting(
        None, "lowest and highest accuracy on the axis (default: close to the curves)", kind=float, sequence=True,
        check=RISING_PAIR, placeholder="LOW HIGH",
    )  # fmt: skip
    num_samples: int | None = setting(
        None, "maximum number of samples of each network", kind=int, check=POSITIVE, identity=False
    )


def select(
    rows: pd.DataFrame,
    plot: Plot,
    has_targets: Callable[[str], bool] = lambda experiment: True,
    has_own_figures: Callable[[str], bool] = lambda experiment: False,
) -> list[tuple[str, pd.DataFrame]]:
    """The name and the rows of each figure; dense rows are included for every pruning type.

    `has_targets` tells whether an experiment prunes to direct or effective targets, which are drawn apart, and
    `has_own_figures` whether each of its runs is drawn apart. Raises `UserError` with the available results if none is
    selected.
    """
    if plot.effective_type == "graph":
        compression = rows["prunable"] / rows["graph_kept_effective"].replace(0, np.nan)
        rows = rows.assign(effective_compression=compression.fillna(np.inf))
    selected = _filter(rows, plot)
    selected = _samples(selected, plot.num_samples)
    figures = []
    for (experiment, architecture, data), part in selected.groupby(["experiment", "architecture", "data"]):
        dense = part["pruner"] == DENSE
        if not has_targets(str(experiment)):
            name = "_".join(folder_name(str(item)) for item in (experiment, architecture, data))
            is_apart = has_own_figures(str(experiment))
            figures += [(f"{name}_{run}", own) for run, own in part.groupby("run")] if is_apart else [(name, part)]
            continue
        for pruning_type in sorted(part.loc[~dense, "pruning_type"].unique()):
            if plot.pruning_type is None or pruning_type in plot.pruning_type:
                name = "_".join(folder_name(str(item)) for item in (experiment, architecture, data, pruning_type))
                figures.append((name, part[dense | (part["pruning_type"] == pruning_type)]))
    if not figures:
        raise UserError(f"no complete pruned network to draw; there are: {_inventory(rows)}")
    return figures


def _samples(rows: pd.DataFrame, most: int | None) -> pd.DataFrame:
    """The rows of at most so many samples of each network, each once.

    Runs that figures do not tell apart are the same network; the one with the most settings is kept.
    """
    columns = ["experiment", "architecture", "data", "pruner", "pruning_type", "settings"]
    by_variant = rows.assign(settings=[" ".join(variant_of(text)) for text in rows["settings"]])
    by_length = rows["settings"].str.len().to_numpy().argsort(kind="stable")
    is_last = ~by_variant.iloc[by_length].duplicated([*columns, "target_compression", "sample"], keep="last").to_numpy()
    place = by_variant.groupby(columns, dropna=False)["sample"].rank(method="dense")
    return rows[is_last[by_length.argsort()] & (place <= (most or np.inf))]


def _filter(rows: pd.DataFrame, plot: Plot) -> pd.DataFrame:
    """The rows that match the flags; raises `UserError` if a pruner to display has none."""
    all_rows = rows
    if plot.experiment is not None:
        rows = rows[rows["experiment"] == plot.experiment]
    if plot.architecture is not None:
        rows = rows[rows["architecture"].isin(plot.architecture)]
    if plot.data is not None:
        rows = rows[rows["data"].isin(plot.data)]
    if plot.pruners_to_display is not None:
        missing = set(plot.pruners_to_display) - set(rows["pruner"])
        if missing:
            raise UserError(
                f"no complete runs of {', '.join(sorted(missing))} for this; there are: {_inventory(all_rows)}"
            )
        rows = rows[rows["pruner"].isin((*plot.pruners_to_display, DENSE))]
    return rows


def _inventory(rows: pd.DataFrame) -> str:
    """The distinct networks, data sets, pruners and pruning types of the rows, as text."""
    columns = ["architecture", "data", "pruner", "pruning_type"]
    combinations = rows[columns].drop_duplicates().sort_values(columns).itertuples(index=False)
    return "; ".join(" ".join(map(str, row)) for row in combinations) or "none"
