"""Figures of the results: draws every kind of figure that the results folder allows.

    python visualization.py
    python visualization.py --architecture=lenet300100 --pruners_to_display=snip synflow random/igq --num_samples=3

Without flags it draws all results of the folder Results. It prints the path of every file that it writes.
"""

import os
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import pandas as pd

from Experiments.planning.choices import figure_kinds, figures_of, valid_names
from Experiments.registry import EXPERIMENTS
from Models.registry import architecture
from Pruners.registry import style
from Utils.config.choices import DENSE
from Utils.config.parser import parse
from Utils.data.registry import DATASETS
from Utils.errors import UserError
from Utils.figures.look import NothingToDrawError, save_figure, save_frames
from Utils.figures.selection import Plot, select
from Utils.results.summaries import read_summaries


def main(arguments: Sequence[str]) -> int:
    """Execute a command line; returns the exit status: 0, or 2 if a flag is wrong or a result folder is damaged.

    Returns 1 if the reader of standard output closed the pipe.
    """
    try:
        request = parse(arguments, [Plot], valid_names(), "visualization.py", (__doc__ or "").split("\n")[0])
        return draw(Plot(**request.values))
    except UserError as error:
        print(f"visualization.py: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115
        return 1


def draw(plot: Plot) -> int:
    """Draw every figure that the results allow and print its paths; returns the exit status.

    Damaged result folders are reported and skipped (status 2). Raises `UserError` if there are no complete runs, or if
    a kind of figure in `plot_type` cannot be drawn from any of them.
    """
    folder = Path(plot.out_path)
    if not folder.is_dir():
        raise UserError(f"--out_path={folder} is no folder; run main.py first, or give the folder of its results")
    rows, damaged = read_summaries(folder)
    complete = rows[rows["status"] == "complete"]
    if complete.empty:
        broken = f" ({len(damaged)} damaged: {damaged[0]})" if damaged else ""
        raise UserError(f"{folder} holds no complete runs{broken}; start some with: python main.py")
    figures = select(complete, plot, has_targets)
    lacking: dict[str, list[str]] = {}
    drawn: set[str] = set()
    for name, part in figures:
        warn_of_few_samples(name, part, plot)
        for kind in plot.plot_type or figure_kinds():
            try:
                paths = draw_one(kind, part, plot, folder / "figures" / f"{name}_{kind}")
            except NothingToDrawError as reason:
                lacking.setdefault(kind, []).append(f"{name}_{kind}: {reason}")
                continue
            drawn.add(kind)
            for path in paths:
                print(path)
    # A kind of figure that only some results lack is skipped; a requested kind that all results lack is an error.
    missing = [text for kind, texts in lacking.items() if kind not in drawn for text in texts]
    if plot.plot_type and missing:
        raise UserError(f"there is no figure {'; '.join(missing)}")
    if not drawn:
        raise UserError(f"no kind of figure shows these results: {', '.join(name for name, _ in figures)}")
    for path in damaged:
        print(f"visualization.py: {path} is damaged and left out; delete it and run it again", file=sys.stderr)
    return 2 if damaged else 0


def draw_one(kind: str, rows: pd.DataFrame, plot: Plot, path: Path) -> list[Path]:
    """Draw and save one figure; returns the paths. Raises `NothingToDrawError` if the rows lack its data."""
    entry = figure_kinds()[kind]
    experiment = rows["experiment"].iloc[0]
    if kind not in figures_of(experiment):
        raise NothingToDrawError(f"it is not for {experiment}")
    figure = make_figure(kind)(rows, style_of, title(rows), plot.pruners_to_display)
    return save_frames(figure, path) if entry.is_animated else save_figure(figure, path)


def has_targets(experiment: str) -> bool:
    """Whether an experiment prunes to direct or effective targets; an experiment that is gone is taken to do so."""
    return experiment not in EXPERIMENTS or EXPERIMENTS[experiment].has_targets


def make_figure(kind: str) -> Callable[..., Any]:
    """The function that draws a kind of figure."""
    module, function = figure_kinds()[kind].target.split(":")
    return getattr(import_module(module), function)


def title(rows: pd.DataFrame) -> str:
    """The title of a figure: network, data set and pruning type."""
    pruned = rows[rows["pruner"] != DENSE]
    row = (rows if pruned.empty else pruned).iloc[0]
    data = DATASETS.get(row["data"])
    try:
        network = architecture(row["architecture"]).label
    except ValueError:  # the network may no longer be in the registry
        network = row["architecture"]
    name = f"{network} on {data.label if data else row['data']}"
    return f"{name}, pruned after training" if pruned.empty else f"{name}, pruned to {row['pruning_type']} targets"


def style_of(name: str) -> tuple[str, str, str]:
    """Label, colour and marker of a pruner; grey dots for one that is no longer in the registry."""
    try:
        return style(name)
    except UserError:
        return name, "#999999", "."


def warn_of_few_samples(name: str, rows: pd.DataFrame, plot: Plot) -> None:
    """Warn of pruners with fewer than `--num_samples` samples."""
    counts = rows.groupby("pruner")["sample"].nunique()
    few = [f"{pruner} {count}" for pruner, count in counts.items() if count < (plot.num_samples or 0)]
    if few:
        print(f"warning: {name} has fewer than {plot.num_samples} samples of: {', '.join(few)}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
