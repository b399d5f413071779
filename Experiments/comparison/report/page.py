"""Page of a report: one HTML file without external resources, for screens in light and dark mode and for paper."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jinja2
import pandas as pd

from Experiments.comparison.report.drawing import Drawn, drawn
from Experiments.comparison.report.sections import SECTIONS, Section, ShownFigure
from Experiments.comparison.report.summaries import cell
from Utils.config.fields import flag_fields
from Utils.config.flag_text import as_flags
from Utils.config.settings import Settings

REPORT = "report.html"

_FOLDED = 12
"""Rows of a table from which on it is folded."""


class _Figure(NamedTuple):
    name: str
    caption: str
    image: Drawn


class _Table(NamedTuple):
    name: str
    caption: str
    columns: list[str]
    rows: list[list[str]]
    is_folded: bool


def page(settings: Settings, tables: Mapping[str, pd.DataFrame]) -> str:
    """The page of a study with these tables: a section for each part that has some."""
    images = drawn(settings, tables)
    sections = [
        {"title": section.title, "id": section.title.lower().replace(" ", "-"), "text": section.text, "items": items}
        for section in SECTIONS
        if (items := _items(section, tables, images))
    ]
    folder = Path(__file__).parent
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(folder), autoescape=True, undefined=jinja2.StrictUndefined
    )
    # Both files are of this package; no text of a user goes into them.
    style, script = ((folder / name).read_text(encoding="utf-8") for name in ("page.css", "page.js"))
    return environment.get_template("page.html").render(
        title=f"{len(tables['networks'])} networks compared: {settings.run.architecture} on {settings.run.data}",
        study=settings.key(), command=_command(settings), sections=sections, style=style, script=script,
    )  # fmt: skip


def _command(settings: Settings) -> str:
    """The command of the study, without the places of its data and results."""
    run, options = settings.run, settings.options
    values = {"experiment": run.experiment, "architecture": run.architecture, "data": run.data}
    for item in flag_fields(type(options)):
        if (value := getattr(options, item.name)) != item.default:
            values[item.name] = value
    return f"python main.py {as_flags(values)}"


def _items(section: Section, tables: Mapping[str, pd.DataFrame], images: Mapping[str, Drawn]) -> list[dict[str, Any]]:
    """The figures and tables of a section that this study has, in order."""
    items: list[_Figure | _Table] = []
    for shown in section.content:
        if isinstance(shown, ShownFigure):
            if shown.kind in images:
                items.append(_Figure(*shown, images[shown.kind]))
        elif shown.name in tables:
            items.append(_table(shown.name, shown.caption, shown.make(tables)))
    return [{"kind": type(item).__name__, **item._asdict()} for item in items]


def _table(name: str, caption: str, table: pd.DataFrame) -> _Table:
    rows = [[_text(value) for value in row] for row in table.itertuples(index=False, name=None)]
    return _Table(name, caption, [str(column) for column in table.columns], rows, len(rows) > _FOLDED)


def _text(value: Any) -> str:
    """A value as a cell: numbers in four digits, a dash for what is unknown."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return value if isinstance(value, str) else cell(value)
