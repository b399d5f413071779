"""Draw what Results holds.

    python visualization.py
    python visualization.py --architecture=lenet300100 --pruners_to_display=snip synflow random/igq --num_samples=3

Without flags it draws all that the results allow, and says where.
"""

import os
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import pandas as pd

from Experiments.planning.choices import valid_names
from Models.registry import architecture
from Pruners.registry import style
from Utils.config.choices import DENSE
from Utils.config.parser import parse
from Utils.data.registry import DATASETS
from Utils.errors import UserError
from Utils.figures.look import NothingToDrawError, save_figure, save_frames
from Utils.figures.registry import AFTERWARDS, FIGURES
from Utils.figures.selection import Plot, select
from Utils.results.summaries import read_summaries


def main(arguments: Sequence[str]) -> int:
    """Carry out a command line; returns the exit status: 0, or 2 if it was wrong or a result folder is damaged."""
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
    """Draw every figure that the results allow, and say where; damaged folders are named and left out."""
    folder = Path(plot.out_path)
    if not folder.is_dir():
        raise UserError(f"--out_path={folder} is no folder; run main.py first, or give the folder of its results")
    rows, damaged = read_summaries(folder)
    complete = rows[rows["status"] == "complete"]
    if complete.empty:
        broken = f" ({len(damaged)} damaged: {damaged[0]})" if damaged else ""
        raise UserError(f"{folder} holds no complete runs{broken}; make some with: python main.py")
    figures = select(complete, plot)
    lacking: dict[str, list[str]] = {}
    drawn: set[str] = set()
    for name, part in figures:
        warn_of_few_samples(name, part, plot)
        for kind in plot.plot_type or FIGURES:
            try:
                paths = draw_one(kind, part, plot, folder / "figures" / f"{name}_{kind}")
            except NothingToDrawError as reason:
                lacking.setdefault(kind, []).append(f"{name}_{kind}: {reason}")
                continue
            drawn.add(kind)
            for path in paths:
                print(path)
    # What some results do not allow is just not drawn, but a wish that none allows is not passed over.
    missing = [text for kind, texts in lacking.items() if kind not in drawn for text in texts]
    if plot.plot_type and missing:
        raise UserError(f"there is no figure {'; '.join(missing)}")
    for path in damaged:
        print(f"visualization.py: {path} is damaged and left out; delete it and run it again", file=sys.stderr)
    return 2 if damaged else 0


def draw_one(kind: str, rows: pd.DataFrame, plot: Plot, path: Path) -> list[Path]:
    """Draw and keep a figure; returns where. Raises `NothingToDrawError` if the rows do not allow it."""
    entry = FIGURES[kind]
    experiment = rows["experiment"].iloc[0]
    if entry.experiment != (AFTERWARDS if experiment == AFTERWARDS else None):
        raise NothingToDrawError(f"it is not for {experiment}")
    found = make_figure(kind)(rows, style_of, title(rows), plot.pruners_to_display)
    return save_frames(found, path) if entry.is_animated else save_figure(found, path)


def make_figure(kind: str) -> Callable[..., Any]:
    """The function that draws a kind of figure."""
    module, function = FIGURES[kind].target.split(":")
    return getattr(import_module(module), function)


def title(rows: pd.DataFrame) -> str:
    """What a figure shows, in words."""
    pruned = rows[rows["pruner"] != DENSE]
    row = (rows if pruned.empty else pruned).iloc[0]
    data = DATASETS.get(row["data"])
    try:
        network = architecture(row["architecture"]).label
    except ValueError:  # results may be of a network that is no longer in the registry
        network = row["architecture"]
    name = f"{network} on {data.label if data else row['data']}"
    return f"{name}, pruned after training" if pruned.empty else f"{name}, pruned to {row['pruning_type']} targets"


def style_of(name: str) -> tuple[str, str, str]:
    """A pruner's label, colour and marker; results may be of one that is no longer in the registry."""
    try:
        return style(name)
    except UserError:
        return name, "#999999", "."


def warn_of_few_samples(name: str, rows: pd.DataFrame, plot: Plot) -> None:
    """Say which pruners have fewer samples than were asked for."""
    counts = rows.groupby("pruner")["sample"].nunique()
    few = [f"{pruner} {count}" for pruner, count in counts.items() if count < (plot.num_samples or 0)]
    if few:
        print(f"warning: {name} has fewer than {plot.num_samples} samples of: {', '.join(few)}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
