"""Tables of structure: densities of layers, statistics of units and layers beside chance, kernels and positions."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from Experiments.comparison.choices import VARIANTS
from Experiments.comparison.networks import Network
from Experiments.comparison.null_models import NULL_MODELS, null_model
from Experiments.comparison.pairs import check_same_layers
from Experiments.comparison.samples import means
from Experiments.comparison.structure.clusters import NEIGHBOURS, Clusters, clusters, runs
from Experiments.comparison.structure.densities import DENSITIES, layer_densities
from Experiments.comparison.structure.gaps import position_histogram
from Experiments.comparison.structure.group_tests import welch_tests
from Experiments.comparison.structure.patterns import common_patterns
from Experiments.comparison.structure.positions import co_occurrence, input_counts, kernel_counts, weight_counts
from Experiments.comparison.structure.scores import Scores, rounding_distances, score_histograms
from Experiments.comparison.structure.signs import effective_signs, flat, kept_signs
from Experiments.comparison.structure.statistics import expectations, layer_statistics, unit_statistics
from Experiments.comparison.structure.thesis import thesis_means, thesis_statistics
from Utils.errors import UserError, unknown

_EXACT = "layer"
"""The null model whose expectations combinatorics gives."""


@dataclass(frozen=True)
class _Item:
    """A layer of a network."""

    network: Network
    layer: str
    signs: np.ndarray
    is_first: bool
    is_convolution: bool

    def columns(self) -> dict[str, Any]:
        """What names it in tables."""
        return self.network.columns | {"layer": self.layer}


def density_tables(networks: Sequence[Network], shortcuts: bool = True) -> dict[str, pd.DataFrame]:
    """Densities of layers; `shortcuts`: with the layers of shortcuts.

    `layer_densities`: `network`, `group`, `sample`, and the columns of the function of this name.
    `densities`: means and standard deviations over samples, `group`, `layer`, `metric`, `n`, `mean`, `sd`.

    Raises `UserError` for networks of other shapes and for none.
    """
    _check(networks)
    table = pd.concat([_named(one.columns, layer_densities(one, shortcuts)) for one in networks], ignore_index=True)
    return {"layer_densities": table, "densities": means(table, ["group", "layer"], DENSITIES)}


def structure_tables(
    networks: Sequence[Network],
    generator: np.random.Generator,
    nulls: int = 5,
    null_models: Sequence[str] = (_EXACT,),
    variant: str = "corrected",
    shortcuts: bool = True,
) -> dict[str, pd.DataFrame]:
    """Statistics of the effective masks; in the variant `thesis`, of all that the masks keep.

    The first two tables begin with `network`, `group`, `sample` and `layer`.
    `unit_structure`: for each `unit`, the statistics of `unit_statistics` (`thesis_statistics` in that variant).
    `layer_structure`: for each `statistic` (of `layer_statistics`) and `null_model` (of `NULL_MODELS`), the `value`,
    and `null_mean` and `null_sd` over random masks: exact means where combinatorics gives them (null model `layer`),
    else those of `nulls` draws; NaN if too few are drawn.
    `structure_tests`: Welch's t and Cohen's d of the values of every two groups, by `layer` and `statistic`.

    Raises `UserError` for networks of other shapes, for none, and for an unknown name.
    """
    if not null_models:
        raise UserError(f"the structure of masks needs one null model or more; there are {', '.join(NULL_MODELS)}")
    for name in null_models:
        null_model(name)  # refuses an unknown name
    items = _items(networks, variant, shortcuts)
    if variant == "thesis":
        items = [
            item if item.is_convolution else replace(item, signs=flat(item.signs)[:, None, None]) for item in items
        ]
    measure = thesis_statistics if variant == "thesis" else unit_statistics
    layers = pd.concat([_layer_structure(item, generator, nulls, null_models, variant) for item in items])
    once = layers[layers["null_model"] == null_models[0]]
    return {
        "unit_structure": _table(items, lambda signs: pd.DataFrame({"unit": range(len(signs)), **measure(signs)})),
        "layer_structure": layers.reset_index(drop=True),
        "structure_tests": welch_tests(once, ["layer", "statistic"]),
    }


def weight_tables(
    networks: Sequence[Network], variant: str = "corrected", shortcuts: bool = True
) -> dict[str, pd.DataFrame]:
    """Counts of the effective weights, beside expectations; in the variant `thesis`, of all that the masks keep.

    All tables but the last begin with `network`, `group`, `sample` and `layer`.
    `weight_positions`: the columns of `position_histogram`.
    `weight_clusters`: for runs (`neighbours` is 2) and clusters, the number `count` of each `size` and `positive`.
    `weight_counts`, `kernel_counts`, `co_occurrence` (both of convolutions), `input_counts` (first layer): as in
    `positions`.
    `common_kernels`: by `group`, the columns of `common_patterns`, for all its networks together.

    Raises `UserError` for networks of other shapes, for none, and for an unknown variant.
    """
    items = _items(networks, variant, shortcuts)
    convolutions = [item for item in items if item.is_convolution]
    return {
        "weight_positions": _table(items, position_histogram),
        "weight_clusters": _table(items, _cluster_counts),
        "weight_counts": _table(items, weight_counts),
        "kernel_counts": _table(convolutions, kernel_counts),
        "co_occurrence": _table(convolutions, co_occurrence),
        "input_counts": _table([item for item in items if item.is_first], input_counts),
        "common_kernels": _common_kernels(convolutions),
    }


def score_tables(
    networks: Sequence[Network], scores: Mapping[str, Mapping[str, Scores]], threshold: float = 0.5
) -> dict[str, pd.DataFrame]:
    """Scores of supermasks, by name of the network and of the layer; networks without scores are left out.

    Both tables begin with `network`, `group` and `sample`.
    `score_histograms`: the columns of the function of this name. `rounding_distances`: likewise.
    """
    searched = [one for one in networks if one.name in scores]
    makers = {
        "score_histograms": score_histograms,
        "rounding_distances": partial(rounding_distances, threshold=threshold),
    }
    tables = {name: [_named(one.columns, make(scores[one.name])) for one in searched] for name, make in makers.items()}
    return {name: pd.concat(parts, ignore_index=True) if parts else pd.DataFrame() for name, parts in tables.items()}


def _items(networks: Sequence[Network], variant: str, shortcuts: bool) -> list[_Item]:
    if variant not in VARIANTS:
        raise unknown("variant", variant, VARIANTS)
    _check(networks)
    read = kept_signs if variant == "thesis" else effective_signs
    items = []
    for network in networks:
        convolutions = {layer.name for layer in network.layers if layer.is_convolution}
        for place, (name, signs) in enumerate(read(network, shortcuts).items()):
            items.append(_Item(network, name, signs, place == 0, name in convolutions))
    return items


def _check(networks: Sequence[Network]) -> None:
    if not networks:
        raise UserError("there is no network to analyse; add runs")
    check_same_layers(networks)


def _layer_structure(
    item: _Item, generator: np.random.Generator, nulls: int, null_models: Sequence[str], variant: str
) -> pd.DataFrame:
    measure = thesis_means if variant == "thesis" else layer_statistics
    own, tables = measure(item.signs), []
    for name in null_models:
        shuffle = null_model(name)
        draws = pd.DataFrame([measure(shuffle(item.signs, generator)) for _ in range(nulls)], columns=list(own))
        means = draws.mean()
        if name == _EXACT and variant != "thesis":
            means.update(pd.Series(expectations(item.signs)))
        columns = {"null_model": name, "null_mean": means, "null_sd": draws.std()}
        tables.append(pd.DataFrame({"value": pd.Series(own), **columns}).rename_axis("statistic").reset_index())
    return _named(item.columns(), pd.concat(tables))


def _cluster_counts(signs: np.ndarray) -> pd.DataFrame:
    kinds = {2: partial(_runs, signs), **{count: partial(clusters, signs, count) for count in NEIGHBOURS}}
    tables = []
    for neighbours, find in kinds.items():
        found = pd.DataFrame({"size": find().size, "positive": find().positive})
        tables.append(found.groupby(["size", "positive"]).size().rename("count").reset_index())
        tables[-1].insert(0, "neighbours", neighbours)
    return pd.concat(tables)


def _runs(signs: np.ndarray) -> Clusters:
    return runs(flat(signs))


def _common_kernels(convolutions: Sequence[_Item]) -> pd.DataFrame:
    groups = dict.fromkeys(item.network.group for item in convolutions)
    tables = [
        _named({"group": group}, common_patterns([i.signs for i in convolutions if i.network.group == group]))
        for group in groups
    ]
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()


def _table(items: Sequence[_Item], make: Callable[[np.ndarray], pd.DataFrame]) -> pd.DataFrame:
    tables = [_named(item.columns(), make(item.signs)) for item in items]
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()


def _named(columns: Mapping[str, Any], table: pd.DataFrame) -> pd.DataFrame:
    """The table behind columns that are the same in all rows."""
    return pd.concat([pd.DataFrame(dict(columns), index=table.index), table], axis=1)
