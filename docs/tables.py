"""Generated tables: fills the README and the pages of this folder from the registries and the committed results.

    python -m docs.tables

A table stands between `<!-- table: NAME -->` and `<!-- end -->`; a test checks that all are up to date.
"""

import re
from functools import lru_cache
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
from Utils.results import load_summaries

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]

_PLACE = re.compile(r"(<!-- table: ([a-z]+) -->\n).*?(<!-- end -->)", re.DOTALL)
_TARGETS = (0.9, 0.99, 0.999)


@lru_cache(maxsize=1)
def tables() -> dict[str, Table]:
    """The tables by name."""
    lists = {name: make()[0] for name, make in CATALOGUE.items()}
    further = {"quotas": quotas(), "combinations": combinations(), "schedules": schedules(), "results": results()}
    return lists | {"pruners": criteria(), "architectures": families(architectures()[0])} | further


def results() -> Table:
    """Top-1 and weights of the committed single shots with effective targets."""
    runs = load_summaries(ROOT / "Results")
    runs = runs[(runs["experiment"] == "singleshot") & (runs["data"] == "mnist")]
    dense = runs[runs["pruner"] == "dense"].iloc[0]
    rows = [("dense", f"{dense['top1']:.4f} unpruned", *[""] * len(_TARGETS))]
    effective = runs[runs["pruning_type"] == "effective"]
    for pruner, group in effective.groupby("pruner"):
        row = group.set_index("target_sparsity")
        accuracies = (f"{row['top1'][target]:.4f}" for target in _TARGETS)
        rows.append((str(pruner), *accuracies, f"{row['kept_direct'][_TARGETS[-1]]:,}"))
    return Table("Results", ("pruner", "top-1 at 90%", "at 99%", "at 99.9%", "weights at 99.9%"), rows)


def filled(text: str) -> str:
    """A text with all its tables filled. Raises `KeyError` for an unknown table."""
    known = tables()
    return _PLACE.sub(lambda place: f"{place[1]}{as_markdown(known[place[2]])}\n{place[3]}", text)


if __name__ == "__main__":
    for page in PAGES:
        page.write_text(filled(page.read_text(encoding="utf-8")), encoding="utf-8")
