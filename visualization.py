"""Figures of the results: draws every kind of figure that the results folder allows.

    python visualization.py
    python visualization.py --architecture=lenet300100 --pruners_to_display=snip synflow random/igq --num_samples=3

Without flags it draws all results of the folder Results. It prints the path of every file that it writes.
"""

import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import fields
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
from Utils.figures.labels import spelled_out
from Utils.figures.look import LonelyPointError, NothingToDrawError, save_figure, save_frames
from Utils.figures.scales import set_accuracy_limits
from Utils.figures.selection import Plot, select
from Utils.files import DamagedError, UnreadableError
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

    Runs that are damaged or unreadable are reported and left out (status 2). Raises `UserError` if there are no
    complete runs, or if a kind of figure in `plot_type` cannot be drawn from any of them.
    """
    folder = Path(plot.out_path)
    if not folder.is_dir():
        raise UserError(f"--out_path={folder} is no folder; run main.py first, or give the folder of its results")
    rows, left_out, note = read_summaries(folder)
    complete = rows[rows["status"] == "complete"]
    if complete.empty:
        broken = f" ({len(left_out)} left out: {left_out[0]})" if left_out else ""
        raise UserError(f"{folder} holds no complete runs{broken}; start some with: python main.py")
    for text in filter(None, (*left_out, note)):
        print(f"visualization.py: {text}", file=sys.stderr)
    named = zip(complete["settings"], complete["experiment"], strict=True)
    texts = [spelled_out(settings, methods(experiment)) for settings, experiment in named]
    figures = select(complete.assign(settings=texts), plot, has_targets, has_own_figures)
    return 0 if draw_all(figures, plot, folder / "figures") and not left_out else 2


def draw_all(figures: Sequence[tuple[str, pd.DataFrame]], plot: Plot, folder: Path) -> bool:
    """Draw every kind of each named figure; returns whether all files that figures read were intact.

    Raises `UserError` if a kind in `plot_type` cannot be drawn at all, or none can.
    """
    attempts: list[tuple[str, str, Exception | None]] = []
    for name, part in figures:
        warn_of_few_samples(name, part, plot)
        for kind in plot.plot_type or figure_kinds():
            attempts.append((kind, f"{name}_{kind}", attempt(kind, part, plot, folder / f"{name}_{kind}")))
    drawn = {kind for kind, _, error in attempts if error is None}
    # A kind of figure that only some results lack is skipped; a requested kind that all results lack is an error.
    missing = dict.fromkeys(f"{kind}: {error}" for kind, _, error in attempts if plot.plot_type and kind not in drawn)
    is_intact = not any(isinstance(error, UserError) for _, _, error in attempts)
    for _, name, error in attempts:
        if isinstance(error, UserError) or (isinstance(error, LonelyPointError) and not missing):
            print(f"visualization.py: there is no figure {name}: {error}", file=sys.stderr)
    if missing and is_intact:
        raise UserError(f"there is no figure {'; '.join(missing)}")
    if not drawn and is_intact:
        raise UserError(f"no kind of figure shows these results: {', '.join(name for name, _ in figures)}")
    return is_intact


def attempt(kind: str, rows: pd.DataFrame, plot: Plot, path: Path) -> Exception | None:
    """Draw and save one figure and print its paths; returns the error if it cannot be drawn."""
    try:
        for file in draw_one(kind, rows, plot, path):
            print(file)
    except (NothingToDrawError, DamagedError, UnreadableError) as error:
        return error
    return None


def draw_one(kind: str, rows: pd.DataFrame, plot: Plot, path: Path) -> list[Path]:
    """Draw and save one figure; returns the paths.

    Raises `NothingToDrawError` if the rows lack its data, or if it was requested with `ylim` and has no accuracy.
    """
    entry = figure_kinds()[kind]
    experiment = rows["experiment"].iloc[0]
    if kind not in figures_of(experiment):
        raise NothingToDrawError(f"it is not for {experiment}")
    figure = make_figure(kind)(rows, style_of, title(rows), plot.pruners_to_display)
    has_accuracy = not entry.is_animated and set_accuracy_limits(figure, plot.ylim)
    if plot.ylim and plot.plot_type and not has_accuracy:
        raise NothingToDrawError("it has no axis of accuracy for --ylim")
    return save_frames(figure, path) if entry.is_animated else save_figure(figure, path)


def has_targets(experiment: str) -> bool:
    """Whether an experiment prunes to direct or effective targets; an experiment that is gone is taken to do so."""
    return experiment not in EXPERIMENTS or EXPERIMENTS[experiment].has_targets


def has_own_figures(experiment: str) -> bool:
    """Whether each run of an experiment has figures of its own."""
    return experiment in EXPERIMENTS and EXPERIMENTS[experiment].has_own_figures


def methods(experiment: str) -> dict[str, str]:
    """The options of an experiment that choose one method by name, with their defaults."""
    options = EXPERIMENTS[experiment].Options if experiment in EXPERIMENTS else None
    named = (item for item in (fields(options) if options else ()) if item.metadata["choices"])
    return {item.name: item.default for item in named if isinstance(item.default, str)}


def make_figure(kind: str) -> Callable[..., Any]:
    """The function that draws a kind of figure."""
    module, function = figure_kinds()[kind].target.split(":")
    return getattr(import_module(module), function)


def title(rows: pd.DataFrame) -> str:
    """The title of a figure: experiment, network, data set, the pruner if all have the same, and pruning type."""
    pruned = rows[rows["pruner"] != DENSE]
    row = (rows if pruned.empty else pruned).iloc[0]
    experiment = row["experiment"].replace("-", " ").capitalize()
    data = DATASETS.get(row["data"])
    try:
        network = architecture(row["architecture"]).label
    except ValueError:  # the network may no longer be in the registry
        network = row["architecture"]
    words = [f"{experiment}: {network} on {data.label if data else row['data']}"]
    if pruned["pruner"].nunique() == 1:
        words.append(style_of(row["pruner"])[0])
    if not pruned.empty and has_targets(row["experiment"]):
        words.append(f"{row['pruning_type']} targets")
    return ", ".join(words)


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
