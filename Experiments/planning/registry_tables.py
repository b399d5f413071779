"""Registry tables: each registry as a table, for `--list` and the README. Loads no PyTorch."""

import re
import shutil
import textwrap
from collections.abc import Callable, Sequence
from itertools import zip_longest
from typing import NamedTuple

from Experiments.planning.choices import figure_kinds
from Experiments.registry import EXPERIMENTS
from Models.registry import ARCHITECTURES, FAMILIES, IMAGENET, architecture_names
from Pruners.registry import CRITERIA, QUOTAS, SCHEDULES, TRANSFER, canonical_name
from Utils.config import flag_aliases
from Utils.config.choices import LISTS
from Utils.config.recipes import lines
from Utils.data.registry import DATASETS

_WIDTH, _GAP = 120, "  "

_NAME = 20
"""Width to which names are not broken."""

_BREAK = re.compile(r"\s|(?<=-)")
"""Where the lines of other cells may end."""


class Table(NamedTuple):
    """A title, column headings and rows; the first column holds the names."""

    title: str
    columns: tuple[str, ...]
    rows: list[tuple[str, ...]]
    has_code: bool = True
    """Whether the first column holds names that are typed."""


def as_text(names: Sequence[str]) -> str:
    """Tables of the named lists for a terminal; all tables if there are no names."""
    return "\n\n".join(_text(table) for name in (names or LISTS) for table in CATALOGUE[name]())


def as_markdown(table: Table) -> str:
    """A Markdown table for the README."""
    lines = [table.columns, tuple("---" for _ in table.columns)]
    lines += [(f"`{row[0]}`" if table.has_code else row[0], *row[1:]) for row in table.rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def criteria() -> Table:
    """Criteria, which score weights."""
    rows = [("dense", "", "nothing is pruned: the baseline")]
    for name, entry in CRITERIA.items():
        rows.append((name, "trained" if entry.scores_trained else "initial", entry.about))
    return Table("Pruners", ("pruner", "weights", "scores"), rows)


def quotas() -> Table:
    """Quotas, which distribute kept weights over layers."""
    rows = [(name, entry.paper, entry.about) for name, entry in QUOTAS.items()]
    rows.append(("PRUNER", "Vysogorets & Kempe 2023", TRANSFER))
    return Table("Quotas: PRUNER/QUOTA, as random/igq", ("quota", "paper", "shares of the layers"), rows)


def combinations() -> Table:
    """Every combination of a criterion and a quota."""
    rows = []
    for criterion, entry in CRITERIA.items():
        names = [canonical_name(f"{criterion}/{quota}") for quota in QUOTAS]
        combined = ", ".join(f"`{name}`" for name in (*names, f"{criterion}/PRUNER"))
        rows.append((criterion, "yes" if entry.needs_batches else "no", str(entry.iterations), entry.paper, combined))
    columns = (
        "criterion",
        "examples",
        "iterations",
        "paper",
        "with each quota, and with the shares of another criterion",
    )
    return Table("Every pruner", columns, rows)


def schedules() -> Table:
    """Schedules: the number of weights that each round prunes."""
    rows = [(name, entry.about) for name, entry in SCHEDULES.items()]
    return Table("Schedules of iterative criteria", ("schedule", "weights that each round prunes"), rows)


def pruners() -> list[Table]:
    """Criteria, quotas, their combinations, and schedules."""
    return [criteria(), quotas(), combinations(), schedules()]


def architectures() -> list[Table]:
    """Architectures and families of architectures."""
    rows = [
        (name, f"{entry.prunable:,}", entry.data or "", entry.about) for name, entry in ARCHITECTURES.items()
    ] + [(name, "", "", about) for name, about in FAMILIES.items()]  # fmt: skip
    return [Table("Architectures", ("architecture", "prunable weights", "own data set", "what it is"), rows)]


def families(table: Table) -> Table:
    """The table with one row for all architectures of the same data set and description."""
    rows: dict[tuple[str, str], tuple[list[str], list[str]]] = {}
    for name, prunable, data, about in table.rows:
        names, sizes = rows.setdefault((data, about), ([], []))
        names.append(name)
        sizes.append(prunable)
    joined = [("`, `".join(names), ", ".join(sizes), *key) for key, (names, sizes) in rows.items()]
    return table._replace(rows=joined)


def torchvision() -> list[Table]:
    """Names of the architectures of torchvision."""
    names = [name.removeprefix(IMAGENET) for name in architecture_names() if name.startswith(IMAGENET)]
    return [Table(f"{IMAGENET}NAME", ("names in the installed torchvision",), [(" ".join(names),)])]


def data() -> list[Table]:
    """Data sets."""
    rows = []
    for name, entry in DATASETS.items():
        shape = "x".join(map(str, entry.input_shape)) if entry.input_shape else "any"
        counts = [f"{entry.facts[index]:,}" if entry.facts else "any" for index in (1, 2, 0)]
        rows.append((name, shape, *counts, entry.about))
    return [Table("Data sets", ("data set", "size", "training", "test", "classes", "what it is"), rows)]


def experiments() -> list[Table]:
    """Experiments."""
    rows = [(name, entry.about) for name, entry in EXPERIMENTS.items()]
    return [Table("Experiments", ("experiment", "what is done with a network"), rows)]


def recipes() -> list[Table]:
    """Training recipes, the defaults of training flags."""
    rows = []
    for line in lines():
        names = f"{line['architecture'].replace(' ', ', ')} on {line['data'].replace(' ', ', ')}"
        length = f"{int(line['length']):,} {line['unit']}"
        drops = ", ".join(f"{int(drop):,}" for drop in line["lr_drops"].split())
        momentum = f" {line['momentum']}" if line["optimizer"] in ("momentum", "nesterov") else ""
        rate = f"{line['lr']}, " + (f"times {line['lr_drop_rate']} at {drops}" if drops else line["lr_schedule"])
        decay = line["weight_decay"] + (" all" if line["weight_decay_scope"] == "all" else "")
        constants = f"{line['mean']} / {line['std']}" if line["mean"] else "the data's"
        details = (line["batch_size"], decay, line["augmentation"] or "the data's", constants, line["scoring_mode"])
        rows.append((names, length, f"{line['optimizer']}{momentum}", rate, *details, line["source"]))
    columns = (
        "recipe", "length", "optimizer", "learning rate", "batch", "decay", "augmentation", "mean / deviation",
        "scoring", "source",
    )  # fmt: skip
    return [Table("Recipes", columns, rows)]


def figures() -> list[Table]:
    """Figures of visualization.py."""
    rows = [(name, entry.about) for name, entry in figure_kinds().items()]
    return [Table("Figures", ("figure", "what it shows"), rows)]


def aliases() -> list[Table]:
    """Flags of the original programs."""
    rows = [(f"--{alias}", f"`--{flag}`") for alias, flag in flag_aliases.FLAGS.items()]
    rows += [(f"--{alias}", f"`{flag}`") for alias, flag in flag_aliases.SWITCHES.items()]
    rows += [(f"--{name}", f"no flag: {reason}") for name, reason in flag_aliases.GONE.items()]
    return [Table("Flags of the original programs", ("theirs", "ours"), rows)]


CATALOGUE: dict[str, Callable[[], list[Table]]] = {
    "pruners": pruners,
    "architectures": lambda: architectures() + torchvision(),
    "data": data,
    "experiments": experiments,
    "recipes": recipes,
    "figures": figures,
    "aliases": aliases,
}


def _text(table: Table) -> str:
    """The table in aligned columns, no wider than the terminal or 120 characters; long cells take several lines.

    Where even the narrowest columns are too wide, each row is a paragraph, in which headings name the values.
    """
    rows = [[cell.replace("`", "") for cell in row] for row in (table.columns, *table.rows)]
    available = min(_WIDTH, shutil.get_terminal_size((_WIDTH, 0)).columns)
    widths = _column_widths(rows, available)
    if sum(widths) + len(_GAP) * (len(widths) - 1) <= available:
        return "\n".join([table.title, *(line for row in rows for line in _row_lines(row, widths))])
    return "\n".join([table.title, *(_paragraph(row, table.columns, available) for row in rows[1:])])


def _column_widths(rows: Sequence[Sequence[str]], available: int) -> list[int]:
    """Widths of columns that fit into a line, the widest narrowed first; none is narrower than its longest word."""
    columns = list(zip(*rows, strict=True))
    widths = [max(map(len, column)) for column in columns]
    narrowest = [max(len(word) for cell in column for word in _BREAK.split(cell)) for column in columns]
    narrowest[0] = max(*(len(word) for name in columns[0] for word in name.split()), min(widths[0], _NAME))
    while sum(widths) + len(_GAP) * (len(widths) - 1) > available and widths != narrowest:
        widest = max(range(len(widths)), key=lambda index: (widths[index] > narrowest[index], widths[index]))
        widths[widest] -= 1
    return widths


def _row_lines(row: Sequence[str], widths: Sequence[int]) -> list[str]:
    """The lines of a row, each cell wrapped within its column."""
    cells = [
        textwrap.wrap(cell, width, break_on_hyphens=index > 0)
        for index, (cell, width) in enumerate(zip(row, widths, strict=True))
    ]
    return [
        _GAP.join(part.ljust(width) for part, width in zip(parts, widths, strict=True)).rstrip()
        for parts in zip_longest(*cells, fillvalue="")
    ]


def _paragraph(row: Sequence[str], columns: Sequence[str], available: int) -> str:
    """A row as a name, with the other cells below it, each behind the heading of its column."""
    cells = "; ".join(f"{heading} {cell}" for heading, cell in zip(columns[1:], row[1:], strict=True) if cell)
    return "\n".join([textwrap.fill(row[0], available), textwrap.indent(textwrap.fill(cells, available - 4), "    ")])
