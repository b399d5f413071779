"""Claims of the thesis: each is confirmed and refuted by tables that were made for it."""

import pandas as pd
import pytest

from Experiments.comparison.study.claims import CLAIM_COLUMNS, CLAIMS, claims

PRUNERS = ("gem-miner", "synflow", "random")
LAYERS = ("fc1", "fc2", "fc3", "fc4")


def networks(density: float, **columns: dict[str, float]) -> pd.DataFrame:
    """Two networks of each pruner; `columns` by pruner."""
    return pd.DataFrame([
        {"network": f"{pruner} s{sample}", "group": pruner, "sample": sample, "pruner": pruner, "density": density}
        | {name: values.get(pruner) for name, values in columns.items()}
        for pruner in PRUNERS for sample in (0, 1)
    ])  # fmt: skip


def of_pairs(values: dict[tuple[str, str], tuple[float, float]], column: str, **further: str) -> pd.DataFrame:
    """A value for each pair of groups: of networks with equal samples, and of others."""
    rows = []
    for (first, second), (same, other) in values.items():
        for one in (0, 1):
            for two in (0, 1):
                if first == second and one >= two:
                    continue
                names = {"first": f"{first} s{one}", "second": f"{second} s{two}", "first_group": first}
                names |= {"second_group": second, "first_sample": one, "second_sample": two}
                rows.append(names | further | {column: same if one == two else other})
    return pd.DataFrame(rows)


def structure(values: dict[str, float], null: float) -> pd.DataFrame:
    """The value of each group; runs are as much longer as they are fewer."""
    lengths = {name: null**2 / value for name, value in values.items()}
    tables = {"runs": values, "graph_score_4": values, "run_length": lengths}
    return pd.DataFrame([
        {"group": group, "layer": layer, "statistic": name, "null_model": "layer", "value": value, "null_mean": null}
        for name, of_groups in tables.items() for group, value in of_groups.items() for layer in LAYERS
    ])  # fmt: skip


def signs(shares: dict[str, tuple[float, ...]]) -> pd.DataFrame:
    """Runs of one weight: positive ones as often as the share of each layer says, of a hundred."""
    return pd.DataFrame([
        {"group": group, "layer": layer, "neighbours": 2, "size": 1, "positive": is_positive,
         "count": round(100 * (share if is_positive else 1 - share))}
        for group, of_layers in shares.items() for layer, share in zip(LAYERS, of_layers, strict=True)
        for is_positive in (0, 1)
    ])  # fmt: skip


def densities(of: dict[str, tuple[float, ...]]) -> pd.DataFrame:
    return pd.DataFrame([
        {"group": group, "layer": layer, "metric": "effective_density", "mean": value}
        for group, values in of.items() for layer, value in zip((*LAYERS, "overall"), (*values, 0.0), strict=True)
    ])  # fmt: skip


GEM = {"gem-miner": 0.9}
EVEN = dict.fromkeys(PRUNERS, (0.5,) * 4)
KERNELS = pd.DataFrame()


def distances(gem: float, synflow: float, random: float, same: float = 0.9) -> pd.DataFrame:
    values = {(name, name): (value, value) for name, value in zip(PRUNERS, (gem, synflow, random), strict=True)}
    tables = [of_pairs(values | {("synflow", "random"): (same, 0.9)}, "distance", measure=measure, reduction="live")
              for measure in ("ned", "maed")]  # fmt: skip
    return pd.concat(tables)


def similarity(gem: float, synflow: float, random: float) -> pd.DataFrame:
    values = {(name, name): (value, value) for name, value in zip(PRUNERS, (gem, synflow, random), strict=True)}
    table = of_pairs(values, "one_to_one")
    return table.assign(live_one_to_one=table["one_to_one"])


CASES = [
    (0, {"networks": networks(0.1, effective_density={"gem-miner": 0.03})},
     {"networks": networks(0.1, effective_density={"gem-miner": 0.09})}),
    (1, {"networks": networks(0.1, top1=GEM, reinitialize_top1={"gem-miner": 0.895})},
     {"networks": networks(0.1, top1=GEM, reinitialize_top1={"gem-miner": 0.88})}),
    (2, {"networks": networks(0.1, top1=GEM, shuffle_top1={"gem-miner": 0.2})},
     {"networks": networks(0.1, top1=GEM, shuffle_top1={"gem-miner": 0.88})}),
    (3, {"networks": networks(0.02, top1={"gem-miner": 0.9, "synflow": 0.8, "random": 0.1})},
     {"networks": networks(0.1, top1={"gem-miner": 0.9, "synflow": 0.8, "random": 0.1})}),
    (4, {"densities": densities(dict.fromkeys(PRUNERS, (0.1, 0.2, 0.3, 0.9)))},
     {"densities": densities(dict.fromkeys(PRUNERS, (0.1, 0.05, 0.3, 0.9)))}),
    (5, {"weight_clusters": signs(EVEN | {"gem-miner": (0.3, 0.5, 0.5, 0.5)})}, {"weight_clusters": signs(EVEN)}),
    (6, {"weight_clusters": signs(EVEN | {"gem-miner": (0.3, 0.7, 0.6, 0.2)})},
     {"weight_clusters": signs(EVEN | {"gem-miner": (0.7, 0.7, 0.5, 0.7)})}),
    (7, {"weight_clusters": signs(EVEN)}, {"weight_clusters": signs(EVEN | {"random": (0.5, 0.5, 0.3, 0.5)})}),
    (8, {"layer_structure": structure({"gem-miner": 5, "synflow": 6, "random": 10}, 10)},
     {"layer_structure": structure({"gem-miner": 5, "synflow": 6, "random": 7}, 10)}),
    (9, {"network_distances": distances(0.8, 0.8, 0.7)}, {"network_distances": distances(0.8, 0.6, 0.7)}),
    (10, {"network_distances": distances(0.6, 0.6, 0.7, same=0.8)}, {"network_distances": distances(0.6, 0.6, 0.7)}),
    (11, {"activation_similarity": similarity(0.4, 0.5, 0.2)}, {"activation_similarity": similarity(0.6, 0.5, 0.2)}),
    (12, {"activation_similarity": similarity(0.4, 0.5, 0.2)}, {"activation_similarity": similarity(0.4, 0.5, 0.45)}),
    (13, {"layer_structure": structure({"gem-miner": 1, "synflow": 6, "random": 2}, 3), "kernel_counts": KERNELS},
     {"layer_structure": structure({"gem-miner": 7, "synflow": 6, "random": 2}, 3), "kernel_counts": KERNELS}),
]  # fmt: skip


def verdict(number: int, tables: dict[str, pd.DataFrame]) -> pd.Series:
    found = claims({"networks": networks(0.1)} | tables)
    assert found is not None and tuple(found.columns) == CLAIM_COLUMNS and len(found) == len(CLAIMS)
    return found.iloc[number]


@pytest.mark.parametrize(("number", "confirming", "refuting"), CASES, ids=[case[0] for case in CASES])
def test_each_claim_can_be_confirmed_and_refuted(number, confirming, refuting):
    assert verdict(number, confirming)["verdict"] == "confirmed"
    assert verdict(number, refuting)["verdict"] == "refuted"


def test_every_claim_has_a_case():
    assert [case[0] for case in CASES] == list(range(len(CLAIMS)))


def test_densities_are_told_apart():
    table = pd.concat([
        networks(density, top1={"gem-miner": 0.9, "synflow": 0.8, "random": 0.1}).assign(
            group=lambda own, density=density: own["pruner"] + f" {density}")
        for density in (0.02, 0.1)
    ])  # fmt: skip
    row = verdict(3, {"networks": table})
    assert row["verdict"] == "confirmed and refuted" and row["where"] == "confirmed at 2%; refuted at 10%"
    assert row["found"] == "2%: Gem-Miner 0.9000, SynFlow 0.8000; 10%: Gem-Miner 0.9000, SynFlow 0.8000"


def test_other_networks_are_those_of_no_claim():
    others = networks(0.1).assign(pruner="snip")
    assert claims({"networks": others}) is None and claims({"networks": others.drop(columns="pruner")}) is None
    assert claims({}) is None
