"""Fill the README's tables from the registries.

    python -m docs.readme

A table stands between `<!-- table: NAME -->` and `<!-- end -->`; a test holds that they are up to date.
"""

import re
from pathlib import Path

from Experiments.planning.registry_tables import (
    CATALOGUE,
    Table,
    architectures,
    as_markdown,
    combinations,
    criteria,
    families,
    quotas,
    schedules,
)

README = Path(__file__).parents[1] / "README.md"

_PLACE = re.compile(r"(<!-- table: ([a-z]+) -->\n).*?(<!-- end -->)", re.DOTALL)


def tables() -> dict[str, Table]:
    """The tables of the README by name."""
    found = {name: make()[0] for name, make in CATALOGUE.items()}
    further = {"quotas": quotas(), "combinations": combinations(), "schedules": schedules()}
    return found | {"pruners": criteria(), **further, "architectures": families(architectures()[0])}


def filled(text: str) -> str:
    """A text with every table as the registries have it; raises `KeyError` for a table that there is not."""
    known = tables()
    return _PLACE.sub(lambda place: f"{place[1]}{as_markdown(known[place[2]])}\n{place[3]}", text)


if __name__ == "__main__":
    README.write_text(filled(README.read_text(encoding="utf-8")), encoding="utf-8")
