"""Claims of the thesis that this study follows, each tested on the networks that are compared.

The thesis compared Gem-Miner, SynFlow and random masks of a dense network on MNIST and of ResNet-20 on CIFAR-10. A
claim is tested at each target density with the pruners that it names; it holds or fails there by the rule that its row
states. Three samples are few: what is found is a mean of these networks, not a law.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

import pandas as pd

CLAIM_COLUMNS = ("claim", "rule", "verdict", "where", "found")

_GEM, _SYNFLOW, _RANDOM = "gem-miner", "synflow", "random"


_IN_RUNS = 2
"""Neighbours of a weight in a run; every weight is in one run."""


class Finding(NamedTuple):
    """What a claim came to at one density."""

    place: str
    holds: bool
    found: str


class Compared(NamedTuple):
    """The tables that claims are tested on."""

    tables: Mapping[str, pd.DataFrame]
    groups: Mapping[tuple[str, float], str]
    """The group of each pruner at each target density; 1 for dense networks."""

    @classmethod
    def of(cls, tables: Mapping[str, pd.DataFrame]) -> "Compared":
        """The tables of a study; the first group of a pruner and density stands for others with other settings."""
        runs = tables["networks"].dropna(subset="pruner")
        first = runs.drop_duplicates(["pruner", "density"])
        keys = zip(first["pruner"], first["density"], strict=True)
        return cls(tables, dict(zip(keys, first["group"], strict=True)))

    def levels(self, *pruners: str) -> Iterator[tuple[str, list[str]]]:
        """Each density at which all of these pruners are there, in words, with their groups."""
        for density in sorted({density for _, density in self.groups}):
            if all((pruner, density) in self.groups for pruner in pruners):
                yield f"{100 * density:.4g}%", [self.groups[pruner, density] for pruner in pruners]

    def mean_of(self, group: str, column: str) -> float:
        """Mean of a column of the networks of a group; NaN if none has it."""
        networks = self.tables["networks"]
        if column not in networks:
            return float("nan")
        return float(networks.loc[networks["group"] == group, column].astype(float).mean())

    def within(self, table: str, group: str, value: str) -> pd.Series:
        """The values of a table for all pairs of different networks of a group."""
        rows = self.tables[table]
        return rows.loc[(rows["first_group"] == group) & (rows["second_group"] == group)
                        & (rows["first"] != rows["second"]), value]  # fmt: skip

    def statistic(self, group: str, name: str) -> pd.DataFrame:
        """Means over samples of a statistic of structure, a row per layer in order, beside those of chance."""
        rows = self.tables["layer_structure"]
        rows = rows[(rows["group"] == group) & (rows["statistic"] == name)]
        rows = rows[rows["null_model"] == rows["null_model"].iloc[0]] if len(rows) else rows
        return rows.groupby("layer", sort=False)[["value", "null_mean"]].mean()

    def positive_shares(self, group: str) -> pd.Series:
        """Share of positive weights among all of a layer, over the samples of a group, by layer in order."""
        rows = self.tables["weight_clusters"]
        rows = rows[(rows["group"] == group) & (rows["neighbours"] == _IN_RUNS)]
        counts = rows[["size", "positive"]].mul(rows["count"], axis=0).groupby(rows["layer"], sort=False).sum()
        return counts["positive"] / counts["size"]


class Claim(NamedTuple):
    """A claim, the rule by which it holds, the tables that its test reads, and the test."""

    text: str
    rule: str
    needs: tuple[str, ...]
    test: Callable[[Compared], Iterator[Finding]]


def claims(tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame | None:
    """A row per claim (`CLAIM_COLUMNS`); None if the networks are those of none."""
    if "networks" not in tables or "pruner" not in tables["networks"]:
        return None
    compared = Compared.of(tables)
    rows = [_row(claim, compared) for claim in CLAIMS]
    return pd.DataFrame(rows, columns=list(CLAIM_COLUMNS)) if any(row[2] != "not tested" for row in rows) else None


def _row(claim: Claim, compared: Compared) -> tuple[str, ...]:
    is_there = all(name in compared.tables for name in claim.needs)
    findings = list(claim.test(compared)) if is_there else []
    if not findings:
        return claim.text, claim.rule, "not tested", "", "these networks are not compared"
    places = {verdict: [one.place for one in findings if one.holds == holds]
              for verdict, holds in (("confirmed", True), ("refuted", False))}  # fmt: skip
    named = [verdict for verdict, where in places.items() if where]
    where = "; ".join(f"{verdict} at {', '.join(places[verdict])}" for verdict in named)
    found = "; ".join(f"{one.place}: {one.found}" for one in findings)
    return claim.text, claim.rule, " and ".join(named), where, found


def _own_density(compared: Compared) -> Iterator[Finding]:
    for place, (group,) in compared.levels(_GEM):
        kept, target = compared.mean_of(group, "effective_density"), float(place.rstrip("%")) / 100
        if target >= 0.05 and pd.notna(kept):
            yield Finding(place, kept < 0.8 * target, f"{100 * kept:.2f}% effective")


def _new_weights(compared: Compared) -> Iterator[Finding]:
    yield from _check_of_masks(compared, "reinitialize_top1", lambda change: change > -0.01)


def _shuffled(compared: Compared) -> Iterator[Finding]:
    yield from _check_of_masks(compared, "shuffle_top1", lambda change: change < -0.05)


def _check_of_masks(compared: Compared, column: str, holds: Callable[[float], bool]) -> Iterator[Finding]:
    """The change of top-1 of Gem-Miner by a sanity check, where one was made."""
    for place, (group,) in compared.levels(_GEM):
        changed, top1 = (compared.mean_of(group, name) for name in (column, "top1"))
        if pd.notna(changed - top1):
            yield Finding(place, holds(changed - top1), f"top-1 {top1:.4f} becomes {changed:.4f}")


def _best_when_sparse(compared: Compared) -> Iterator[Finding]:
    for place, groups in compared.levels(_GEM, _SYNFLOW):
        gem, synflow = (compared.mean_of(group, "top1") for group in groups)
        is_sparse = float(place.rstrip("%")) <= 2
        if pd.notna(gem - synflow):
            yield Finding(place, (gem > synflow) == is_sparse, f"Gem-Miner {gem:.4f}, SynFlow {synflow:.4f}")


def _first_and_last(compared: Compared) -> Iterator[Finding]:
    rows = compared.tables["densities"]
    rows = rows[(rows["metric"] == "effective_density") & (rows["layer"] != "overall")]
    for place, groups in compared.levels(_GEM, _SYNFLOW):
        layers = [rows.loc[rows["group"] == group, "mean"].tolist() for group in groups]
        holds = all(own[0] == min(own) and own[-1] == max(own) for own in layers)
        names = ("Gem-Miner", "SynFlow")
        ends = (f"{name} {own[0]:.4f} to {own[-1]:.3f}" for name, own in zip(names, layers, strict=True))
        yield Finding(place, holds, ", ".join(ends))


def _negative_first(compared: Compared) -> Iterator[Finding]:
    for place, (group,) in compared.levels(_GEM):
        share = compared.positive_shares(group).iloc[0]
        yield Finding(place, share < 0.45, f"{share:.3f} positive")


def _positive_hidden(compared: Compared) -> Iterator[Finding]:
    for place, (group,) in compared.levels(_GEM):
        shares = compared.positive_shares(group).iloc[1:-1]
        if len(shares):
            yield Finding(place, bool((shares > 0.55).all()), f"{shares.min():.3f} to {shares.max():.3f} positive")


def _even_signs(compared: Compared) -> Iterator[Finding]:
    for place, groups in compared.levels(_SYNFLOW, _RANDOM):
        shares = [compared.positive_shares(group) for group in groups]
        low, high = min(own.min() for own in shares), max(own.max() for own in shares)
        yield Finding(place, bool(low >= 0.45 and high <= 0.55), f"{low:.3f} to {high:.3f} positive")


def _runs_in_first(compared: Compared) -> Iterator[Finding]:
    for place, groups in compared.levels(_GEM, _SYNFLOW, _RANDOM):
        number, length = ([_ratio(compared, group, name) for group in groups] for name in ("runs", "run_length"))
        holds = all(runs < 0.9 and longer > 1.1 for runs, longer in zip(number[:2], length[:2], strict=True))
        found = "; ".join(
            f"{name} {runs:.2f} of the runs, {longer:.2f} times as long"
            for name, runs, longer in zip(("Gem-Miner", "SynFlow", "random"), number, length, strict=True)
        )
        yield Finding(place, holds and number[2] >= 0.9, found)


def _ratio(compared: Compared, group: str, statistic: str) -> float:
    """A statistic of the first layer as a multiple of what chance gives."""
    row = compared.statistic(group, statistic).iloc[0]
    return float(row["value"] / row["null_mean"])


def _no_closer_weights(compared: Compared) -> Iterator[Finding]:
    """Networks of one pruner against random ones, by the first reduction of the first distance."""
    rows = compared.tables["network_distances"]
    chosen = (rows["measure"] == "ned") & (rows["reduction"] == rows["reduction"].iloc[0])
    narrowed = compared._replace(tables={**compared.tables, "network_distances": rows[chosen]})
    for place, groups in compared.levels(_GEM, _SYNFLOW, _RANDOM):
        means = [narrowed.within("network_distances", group, "distance").mean() for group in groups]
        gem, synflow, random = means
        if pd.notna(means).all():
            found = f"NED Gem-Miner {gem:.3f}, SynFlow {synflow:.3f}, random {random:.3f}"
            yield Finding(place, min(gem, synflow) >= random, found)


def _shared_initial_weights(compared: Compared) -> Iterator[Finding]:
    rows = compared.tables["network_distances"]
    rows = rows[(rows["measure"] == "maed") & (rows["reduction"] == rows["reduction"].iloc[0])]
    for place, groups in compared.levels(_SYNFLOW, _RANDOM):
        pairs = rows[rows["first_group"].isin(groups) & rows["second_group"].isin(groups)]
        pairs = pairs[pairs["first_group"] != pairs["second_group"]]
        is_same = pairs["first_sample"] == pairs["second_sample"]
        same, other = (pairs.loc[chosen, "distance"].mean() for chosen in (is_same, ~is_same))
        if pd.notna(same - other):
            yield Finding(place, same < other - 0.01, f"MAED {same:.3f} with one sample, {other:.3f} with two")


def _convergent(compared: Compared) -> Iterator[Finding]:
    yield from _in_order_of_correlation(compared, "one_to_one")


def _convergent_live(compared: Compared) -> Iterator[Finding]:
    yield from _in_order_of_correlation(compared, "live_one_to_one")


def _in_order_of_correlation(compared: Compared, column: str) -> Iterator[Finding]:
    for place, groups in compared.levels(_GEM, _SYNFLOW, _RANDOM):
        means = [compared.within("activation_similarity", group, column).mean() for group in groups]
        gem, synflow, random = means
        if pd.notna(means).all():
            found = f"correlation SynFlow {synflow:.3f}, Gem-Miner {gem:.3f}, random {random:.3f}"
            yield Finding(place, synflow > gem > random, found)


def _kernels_of_first(compared: Compared) -> Iterator[Finding]:
    for place, groups in compared.levels(_GEM, _SYNFLOW, _RANDOM):
        tables = [compared.statistic(group, "graph_score_4") for group in groups]
        has_kernels = "kernel_counts" in compared.tables and all(len(table) for table in tables)
        if has_kernels:
            gem, synflow, random = (float(table["value"].iloc[0]) for table in tables)
            found = f"graph score Gem-Miner {gem:.3f}, SynFlow {synflow:.3f}, random {random:.3f}"
            yield Finding(place, synflow > max(gem, random), found)


CLAIMS = (
    Claim("Gem-Miner's penalty and weight decay, not its freezing, set the density: far below the target from 5% on",
          "less than 0.8 of the target is effective", ("networks",), _own_density),
    Claim("Other initial weights cost Gem-Miner's masks nothing", "top-1 falls by less than 0.01", ("networks",),
          _new_weights),
    Claim("Shuffling Gem-Miner's masks within layers, at equal density, destroys them", "top-1 falls by more than 0.05",
          ("networks",), _shuffled),
    Claim("Gem-Miner beats SynFlow at a density of 2% and nowhere else", "higher top-1 up to 2%, lower above",
          ("networks",), _best_when_sparse),
    Claim("The first layer is the sparsest and the last one the densest, with Gem-Miner and with SynFlow",
          "least and greatest effective density of all layers", ("densities",), _first_and_last),
    Claim("First-layer weights of Gem-Miner are mostly negative", "less than 0.45 of the effective ones are positive",
          ("weight_clusters",), _negative_first),
    Claim("Hidden-layer weights of Gem-Miner are mostly positive", "more than 0.55 are, in each hidden layer",
          ("weight_clusters",), _positive_hidden),
    Claim("SynFlow and random masks prefer no sign", "0.45 to 0.55 are positive in each layer", ("weight_clusters",),
          _even_signs),
    Claim("Weights of the first layer lie in longer and fewer runs with Gem-Miner and SynFlow than by chance",
          "fewer than 0.9 of the runs of chance, more than 1.1 times as long, and random masks at least 0.9",
          ("layer_structure",), _runs_in_first),
    Claim("Networks of one method are no closer to each other than random ones (its alignment hid that they are)",
          "neither Gem-Miner nor SynFlow has a lower mean distance", ("network_distances",), _no_closer_weights),
    Claim("SynFlow and random networks of one sample are closer than those of two: they share initial weights",
          "mean MAED lower by more than 0.01", ("network_distances",), _shared_initial_weights),
    Claim("Units of SynFlow networks converge most over samples, then those of Gem-Miner, and random ones least",
          "in the order of the mean correlation of matched units, dead ones counted as 0", ("activation_similarity",),
          _convergent),
    Claim("The same holds among units that are not dead", "in the order of the mean correlation of matched live units",
          ("activation_similarity",), _convergent_live),
    Claim("Kernels of SynFlow's first convolution hang together more than those of others", "greatest graph score",
          ("layer_structure",), _kernels_of_first),
)  # fmt: skip
