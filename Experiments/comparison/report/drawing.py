"""Figures of a report as PNG files in memory, drawn from the tables of a study."""

import base64
import io
import tempfile
from collections.abc import Mapping
from importlib import import_module
from typing import NamedTuple

import pandas as pd
from matplotlib.figure import Figure
from PIL import Image

from Experiments.comparison.figure_kinds import FIGURE_KINDS
from Pruners.registry import style
from Utils.config.settings import Settings
from Utils.figures.look import NothingToDrawError
from Utils.results.outcome import Outcome
from Utils.results.store import Store
from Utils.results.summaries import read_summaries

_DPI = 120
_COLOURS = 256
"""Colours of a file: enough for plots and maps of colours, half of the size."""


class Drawn(NamedTuple):
    """A figure on the page."""

    source: str
    """A data URI of a PNG file."""
    width: int
    height: int


def drawn(settings: Settings, tables: Mapping[str, pd.DataFrame]) -> dict[str, Drawn]:
    """Each kind of figure that the tables allow, by its name."""
    with tempfile.TemporaryDirectory() as folder:
        Store(folder).write(settings, settings, Outcome.of_study(dict(tables)), seconds=0.0)
        rows = read_summaries(folder).rows
        images = {}
        for kind, entry in FIGURE_KINDS.items():
            module, function = entry.target.split(":")
            try:
                figure = getattr(import_module(module), function)(rows, style, "", None)
            except NothingToDrawError:
                continue
            images[kind] = _png(figure)
    return images


def _png(figure: Figure) -> Drawn:
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=_DPI, bbox_inches="tight")
    image = Image.open(content).convert("RGB").quantize(_COLOURS, dither=Image.Dither.NONE)
    smaller = io.BytesIO()
    image.save(smaller, format="png", optimize=True)
    return Drawn(f"data:image/png;base64,{base64.b64encode(smaller.getvalue()).decode()}", *image.size)
