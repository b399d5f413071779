"""Style of all figures, and their files: PNG, PDF and animations."""

import textwrap
from collections.abc import Callable, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from Utils.results.atomic_files import replace_file

Style = Callable[[str], tuple[str, str, str]]
"""Maps a pruner's name to its label, colour and marker."""

GREY, BLUE, RED = "#777777", "#0072b2", "#d55e00"
BAND = 0.18
"""Opacity of the bands from the lowest to the highest sample."""

_SMALLEST_BAND = 2
"""Number of samples from which on a band is drawn."""

MOST_PANELS = 4
"""Maximum number of panels side by side."""

_LETTERS_PER_INCH = 13.5
_MOST_COLUMNS = 4

_FRAME_DPI, _FRAME_MILLISECONDS = 120, 1000

_LOOK: dict[Any, Any] = {
    "font.size": 9, "axes.labelsize": 9, "legend.fontsize": 8, "xtick.labelsize": 8, "ytick.labelsize": 8,
    "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True, "grid.alpha": 0.25, "lines.markersize": 4,
    "lines.linewidth": 1.3, "pdf.fonttype": 42,
}  # fmt: skip


class NothingToDrawError(ValueError):
    """Raised if the runs lack the data that a figure shows."""


class LonelyPointError(NothingToDrawError):
    """Raised if the runs have the data, but of a single point."""


def new_figure(
    title: str, rows: int = 0, columns: int = 0, size: tuple[float, float] = (4.6, 2.6), **grid: Any
) -> tuple[Figure, np.ndarray]:
    """A figure and its axes (rows, columns), by default a single panel.

    `size` is in inches, without the legend; `grid` is passed to `Figure.subplots`.
    """
    import matplotlib

    with matplotlib.rc_context(_LOOK):
        figure = Figure(figsize=size, layout="constrained")
        axes = figure.subplots(rows or 1, columns or 1, squeeze=False, **grid)
    title = wrapped(title, size[0])
    if not rows:
        axes[0, 0].set_title(title, fontsize=9)
    else:
        figure.suptitle(title, fontsize=9)
    return figure, axes


def columns_size(columns: int, height: float) -> tuple[float, float]:
    """The size in inches of a figure with columns of panels; a single one is wider."""
    return (1.2 + 2.3 * columns if columns > 1 else 4.6, height)


def wrapped(text: str, width: float) -> str:
    """A text of the size of titles in lines of at most `width` inches."""
    return textwrap.fill(text, max(12, int(_LETTERS_PER_INCH * width)), break_long_words=False)


def add_legend(figure: Figure, handles: Sequence[Any]) -> None:
    """Add a legend below the figure, with one entry per label, in as many columns as fit below the axes.

    The figure grows by the height of the legend; labels that are wider than the axes are wrapped.
    """
    entries = {handle.get_label(): handle for handle in handles}
    figure.get_layout_engine().execute(figure)  # type: ignore[union-attr]
    boxes = [axes.get_window_extent() for axes in figure.axes]
    width = max(box.x1 for box in boxes) - min(box.x0 for box in boxes)
    columns, letters = _MOST_COLUMNS, max(map(len, entries))
    while True:
        columns = -(-len(entries) // -(-len(entries) // columns))  # as few as the rows need
        labels = [textwrap.fill(label, letters) for label in entries]
        legend = figure.legend(
            list(entries.values()), labels, loc="outside lower center", ncols=columns, frameon=False, fontsize=8
        )
        box = legend.get_window_extent()
        if box.width <= width or letters == 1:
            figure.set_figheight(figure.get_figheight() + box.height / figure.dpi)
            return
        legend.remove()
        columns, letters = (columns - 1, letters) if columns > 1 else (1, letters - 1)


def draw_band(axes: Axes, x: Any, samples: Any, colour: str) -> None:
    """Fill between the lowest and the highest sample at each place of `x`; nothing if no place has several.

    `samples` are values grouped by place, as pandas groups a column.
    """
    if samples.count().max() >= _SMALLEST_BAND:
        axes.fill_between(x, samples.min(), samples.max(), color=colour, alpha=BAND, linewidth=0)


def grey_line(label: str, **style: Any) -> Line2D:
    """A legend entry for a line style or marker that does not depend on colour."""
    return Line2D([], [], color=GREY, label=label, **style)


def spread(levels: Sequence[float], most: int) -> list[float]:
    """At most `most` of the levels, evenly spaced from the first to the last."""
    if len(levels) <= most:
        return list(levels)
    return [levels[round(index * (len(levels) - 1) / (most - 1))] for index in range(most)]


def level_title(axes: Axes, level: float, label: str = "") -> None:
    """Set the title of a panel to its target compression, after a label."""
    axes.set_title("\n".join(filter(None, (label, f"target {level:.4g}x"))), fontsize=8)


def save_frames(frames: Sequence[tuple[str, Figure]], path: Path) -> list[Path]:
    """Write each named figure as `PATH_NAME.png` and all as the animation `PATH.gif`; returns the paths."""
    from PIL import Image

    paths, images = [], []
    for name, figure in frames:
        content = BytesIO()
        figure.savefig(content, format="png", dpi=_FRAME_DPI)
        paths.append(path.with_name(f"{path.name}_{name}.png"))
        replace_file(paths[-1], content.getvalue())
        images.append(Image.open(content).convert("P", palette=Image.Palette.ADAPTIVE))
    content = BytesIO()
    images[0].save(
        content, "GIF", save_all=True, append_images=images[1:], duration=_FRAME_MILLISECONDS, loop=0, disposal=2
    )
    paths.append(path.with_name(f"{path.name}.gif"))
    replace_file(paths[-1], content.getvalue())
    return paths


def save_figure(figure: Figure, path: Path) -> list[Path]:
    """Write a figure as `PATH.png` and `PATH.pdf`; returns both paths."""
    paths = []
    for suffix in (".png", ".pdf"):
        content = BytesIO()
        metadata = {"CreationDate": None} if suffix == ".pdf" else {}
        figure.savefig(content, format=suffix[1:], dpi=300, bbox_inches="tight", metadata=metadata)
        paths.append(path.with_name(path.name + suffix))
        replace_file(paths[-1], content.getvalue())
    return paths
