"""Generated tables: fills the README and the pages of this folder from the registries and the committed results.

    python -m docs.tables

A table stands between `<!-- table: NAME -->` and `<!-- end -->`; a test checks that all are up to date.
"""

import math
import re
from functools import lru_cache
from pathlib import Path

import pandas as pd

from Experiments.anatomy.relations import at_target
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
from Utils.config.choices import DENSE
from Utils.results import load_summaries
from Utils.results.summaries import read_summaries, read_table

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]

_PLACE = re.compile(r"(<!-- table: ([a-z]+) -->\n).*?(<!-- end -->)", re.DOTALL)
_TARGETS = (0.9, 0.99, 0.999)

_DENSITIES = (0.02, 0.05, 0.1, 0.2, 0.5)

_SUPERMASKS = (
    ("SynFlow", "synflow", False, "top1"),
    ("random masks", "random", False, "top1"),
    ("Smart-Ratio", "smart-ratio", False, "top1"),
    ("edge-popup", "edge-popup", False, "top1"),
    ("Gem-Miner", "gem-miner", False, "top1"),
    ("Gem-Miner, before fine-tuning", "gem-miner", False, "rounded_top1"),
    ("Gem-Miner, weights kept", "gem-miner", False, "kept_direct"),
    ("its mask shuffled", "gem-miner", False, "shuffle_top1"),
    ("its weights reinitialized", "gem-miner", False, "reinitialize_top1"),
    ("its mask inverted", "gem-miner", False, "invert_top1"),
    ("Gem-Miner, unflagged", "gem-miner", True, "top1"),
    ("Gem-Miner, unflagged, weights kept", "gem-miner", True, "kept_direct"),
)
"""Rows: name, pruner, whether unflagged, column of `summary.csv`."""

_PUBLISHED = {
    "SynFlow": ("81.23 ± 8.03", "92.94 ± 0.83", "95.53 ± 0.07", "96.59 ± 0.03", "97.51 ± 0.08"),
    "random masks": ("10.99 ± 0.62", "11.35 ± 0.00", "14.67 ± 5.74", "96.54 ± 0.25", "97.42 ± 0.22"),
    "Gem-Miner": ("91.23 ± 0.25", "93.31 ± 0.23", "93.65 ± 0.21", "93.73 ± 0.05", "93.89 ± 0.17"),
    "Gem-Miner, before fine-tuning": ("61.97 ± 2.74", "84.58 ± 0.78", "84.58 ± 0.57", "84.34 ± 0.74", "84.20 ± 0.53"),
    "Gem-Miner, weights kept": ("2.00", "2.95", "2.94", "2.95", "2.95"),
    "its mask shuffled": ("10.8", "14.0", "16.0", "79.2", "91.9"),
    "its weights reinitialized": ("90.59", "94.02", "93.83", "94.14", "93.78"),
}
"""Means and standard deviations of three seeds in the sparse-network-analysis thesis, by density."""


@lru_cache(maxsize=1)
def tables() -> dict[str, Table]:
    """The tables by name."""
    lists = {name: make()[0] for name, make in CATALOGUE.items()}
    further = {"quotas": quotas(), "combinations": combinations(), "schedules": schedules(), "results": results()}
    further |= {"supermasks": supermasks(), "anatomy": anatomy(), "correlations": correlations(), "claims": claims()}
    further |= {"thesis": thesis_claims(), "longer": longer_training(), "convolutional": anatomy("lenet5")}
    return lists | {"pruners": criteria(), "architectures": families(architectures()[0])} | further


def results() -> Table:
    """Top-1 and weights of the committed single shots with effective targets."""
    runs = load_summaries(ROOT / "Results")
    runs = runs[(runs["experiment"] == "singleshot") & (runs["architecture"] == "lenet300100")]
    dense = runs[runs["pruner"] == "dense"].iloc[0]
    rows = [("dense", f"{dense['top1']:.4f} unpruned", *[""] * len(_TARGETS))]
    effective = runs[runs["pruning_type"] == "effective"]
    for pruner, group in effective.groupby("pruner"):
        row = group.set_index("target_sparsity")
        accuracies = (f"{row['top1'][target]:.4f}" for target in _TARGETS)
        rows.append((str(pruner), *accuracies, f"{row['kept_direct'][_TARGETS[-1]]:,}"))
    return Table("Results", ("pruner", "top-1 at 90%", "at 99%", "at 99.9%", "weights at 99.9%"), rows)


def supermasks() -> Table:
    """Top-1 in percent of the committed runs of Gem-Miner's FC network, over samples, beside published values."""
    runs = load_summaries(ROOT / "Results")
    runs = runs[runs["architecture"].isin(["fc", "gem-miner/fc"])]
    is_unflagged = runs["settings"].str.contains("--unflag=1")
    rows = []
    for name, pruner, unflagged, column in _SUPERMASKS:
        part = runs[(runs["pruner"] == pruner) & (is_unflagged == unflagged)]
        groups = part.groupby(part["target_compression"].map(_nearest_density))[column]
        percent = 100 / part["prunable"].iloc[0] if column == "kept_direct" else 100
        means, deviations = percent * groups.mean(), percent * groups.std()
        cells = [f"{means[density]:.2f} ± {deviations[density]:.2f}" for density in _DENSITIES]
        rows.append((name, *cells))
        if name in _PUBLISHED:
            rows.append((f"{name}, published", *_PUBLISHED[name]))
    heading = ("percent", *(f"density {100 * density:g}%" for density in _DENSITIES))
    return Table("Supermasks", heading, rows, has_code=False)


def anatomy(architecture: str = "lenet300100") -> Table:
    """Mean top-1 of a committed anatomy by pruner and level, over samples of the shorter training.

    A cell is in parentheses if the effective weights of one of its networks are not those of the target.
    """
    networks = _of_anatomy("networks", architecture)
    networks = networks[(networks["control"] == "none") & (networks["iterations"] == networks["iterations"].min())]
    networks = networks[networks["pruner"] != DENSE]
    networks["is_exact"] = networks.index.isin(at_target(networks).index)
    groups = networks.groupby(["pruner", "target_compression"])
    cells = {
        key: _with_deviation(group["top1"]) if group["is_exact"].all() else f"({_with_deviation(group['top1'])})"
        for key, group in groups
    }
    counts = networks.groupby("target_compression")["pruner"].nunique()
    levels = [level for level, count in counts.items() if count >= 6]
    rows = [
        (str(pruner), *(cells.get((pruner, level), "") for level in levels))
        for pruner in networks.groupby("pruner")["top1"].mean().sort_values(ascending=False).index
    ]
    return Table("Anatomy", ("pruner", *(f"{_sparsity(level)} effective" for level in levels)), rows)


def longer_training() -> Table:
    """Mean top-1 of the committed anatomy by pruner and length of training, at the levels that have several lengths."""
    networks = _of_anatomy("networks")
    networks = networks[(networks["control"] == "none") & (networks["pruner"] != DENSE)]
    lengths = sorted(networks["iterations"].unique())
    longer = networks[networks["iterations"] == lengths[-1]]
    networks = networks[networks["target_compression"].isin(longer["target_compression"])]
    cells = {key: _with_deviation(group) for key, group in networks.groupby(["pruner", "iterations"])["top1"]}
    rows = [
        (str(pruner), *(cells[pruner, length] for length in lengths))
        for pruner in longer.groupby("pruner")["top1"].mean().sort_values(ascending=False).index
    ]
    return Table("Longer training", ("pruner", *(f"{length:,} steps" for length in lengths)), rows)


def correlations(architecture: str = "lenet300100") -> Table:
    """Spearman correlations of a committed anatomy by statistic and level, with their intervals."""
    table = _of_anatomy("correlations", architecture)
    table = table[table["iterations"] == table["iterations"].min()]
    levels = sorted(table["target_compression"].unique())
    cells = table.set_index(["statistic", "target_compression"])
    rows = []
    for name in dict.fromkeys(table["statistic"]):
        found = [cells.loc[(name, level)] for level in levels]
        rows.append((name, *("" if math.isnan(one["spearman"]) else _interval(one) for one in found)))
    return Table("Correlations", ("statistic", *(f"{_sparsity(level)} effective" for level in levels)), rows)


def claims() -> Table:
    """The claims that the committed anatomy tests."""
    table = _of_anatomy("claims").fillna("")
    rows = [tuple(str(cell) for cell in row) for row in table.itertuples(index=False)]
    heading = ("claim", "source", "verdict", "where", "networks", "effect on top-1, or correlation [95% interval]")
    return Table("Claims", heading, rows, has_code=False)


def thesis_claims() -> Table:
    """The claims of the thesis that the committed comparison tests."""
    studies = read_summaries(ROOT / "Results").rows.query("experiment == 'compare'")
    table = read_table(studies["folder"].iloc[0], "claims")
    assert table is not None
    cells = table[["claim", "verdict", "found"]].itertuples(index=False)
    rows = [tuple(str(cell) for cell in row) for row in cells]
    return Table("Claims of the thesis", ("claim of the thesis", "verdict", "found"), rows, has_code=False)


def _of_anatomy(name: str, architecture: str = "lenet300100") -> pd.DataFrame:
    """A table of the committed anatomy of an architecture."""
    rows = read_summaries(ROOT / "Results").rows
    studies = rows[(rows["experiment"] == "anatomy") & (rows["architecture"] == architecture)]
    table = read_table(studies["folder"].iloc[0], name)
    assert table is not None
    return table


def _with_deviation(values: pd.Series) -> str:
    return f"{values.mean():.3f} ± {values.std():.3f}"


def _interval(row: pd.Series) -> str:
    return f"{row['spearman']:+.2f} [{row['low']:+.2f}, {row['high']:+.2f}]"


def _sparsity(compression: float) -> str:
    return f"{1 - 1 / compression:.4g}"


def _nearest_density(compression: float) -> float:
    """The density of the table that a target compression stands for: 10^0.695 is 20%."""
    return min(_DENSITIES, key=lambda density: abs(math.log(density * compression)))


def filled(text: str) -> str:
    """A text with all its tables filled. Raises `KeyError` for an unknown table."""
    known = tables()
    return _PLACE.sub(lambda place: f"{place[1]}{as_markdown(known[place[2]])}\n{place[3]}", text)


if __name__ == "__main__":
    for page in PAGES:
        page.write_text(filled(page.read_text(encoding="utf-8")), encoding="utf-8")
