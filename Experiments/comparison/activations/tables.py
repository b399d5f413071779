"""Tables of similar activations: scores of all pairs of networks, and the matched units of a few."""

from collections.abc import Sequence
from itertools import product
from typing import Any

import numpy as np
import pandas as pd
from torch import Tensor

from Experiments.comparison.activations.cka import streamed_cka
from Experiments.comparison.activations.matching import match_scores, matched, one_to_one, semi
from Experiments.comparison.activations.moments import Moments, observe
from Experiments.comparison.activations.recording import When
from Experiments.comparison.networks import Network
from Experiments.comparison.pairs import pair_columns, shown_pairs, spread_over

_SHOWN_LAYERS, _SHOWN_UNITS = 4, 32
"""Most layers, and units of each, whose matrices of correlations are kept."""

_DIGITS, _UNIT_DIGITS = 3, 6
"""Digits of the correlations in the matrices, and of the matched units."""


def activation_tables(
    networks: Sequence[Network],
    inputs: Tensor,
    when: When = "after",
    shown: Sequence[tuple[str, str]] | None = None,
    batch_size: int | None = None,
) -> dict[str, pd.DataFrame]:
    """How alike the activations of networks are on normalised images (images, channels, rows, columns).

    `activation_similarity`: a row per `layer` and ordered pair of networks (`first`, `second`, their `first_group`,
    `second_group`, `first_sample`, `second_sample`), also of each with itself, where no unit is its own partner:
    `units`, `first_live`, `second_live` (units that are not constant), the mean correlations of matched units
    `one_to_one`, `semi` and, among live units alone, `live_one_to_one`, `live_semi`, then `cka` and `unbiased_cka`.

    `matched_units`: a row per unit of the first network of each pair in `shown`: `unit`, `is_dead`, its `partner` and
    `correlation` in the one-to-one matching, `semi_partner` and `semi_correlation`, to six digits.

    `unit_correlations`: the matrices behind it, for at most 4 layers and 32 units, rounded to three digits: `row` and
    `column` are places of units in the order of falling matched correlation, `correlation` is that of the unit at
    `row` with the partner of the unit at `column`, and `unmatched_correlation` that with the unit of the same number.

    `shown` names pairs of networks; by default those of `shown_pairs`. Raises `UserError` for networks of other shapes.
    """
    moments = observe(networks, inputs, when, batch_size)
    pairs = _places(networks, shown_pairs(networks) if shown is None else shown)
    similarity = [row for layer, sums in moments.items() for row in _similarities(networks, layer, sums)]
    layers = list(moments)
    kept = spread_over(layers, _SHOWN_LAYERS)
    units = [_matched_units(networks, pair, layer, moments[layer]) for pair in pairs for layer in layers]
    matrices = [_matrix(networks, pair, layer, moments[layer]) for pair in pairs for layer in kept]
    tables = {"activation_similarity": pd.DataFrame(similarity)}
    if pairs:
        tables |= {"matched_units": pd.concat(units), "unit_correlations": pd.concat(matrices)}
    return {name: table.reset_index(drop=True) for name, table in tables.items()}


def _places(networks: Sequence[Network], pairs: Sequence[tuple[str, str]]) -> list[tuple[int, int]]:
    names = [network.name for network in networks]
    return [(names.index(first), names.index(second)) for first, second in pairs]


def _similarities(networks: Sequence[Network], layer: str, moments: Moments) -> list[dict[str, Any]]:
    cka, unbiased_cka = streamed_cka(moments), streamed_cka(moments, unbiased=True)
    rows = []
    for first, second in product(range(len(networks)), repeat=2):
        live, other_live = moments.live(first), moments.live(second)
        scores = match_scores(moments.between(first, second), live, other_live, within=first == second)
        row = pair_columns(networks[first], networks[second]) | {"layer": layer, "units": len(live)}
        row |= {"first_live": int(live.sum()), "second_live": int(other_live.sum())} | scores._asdict()
        rows.append(row | {"cka": cka[first, second], "unbiased_cka": unbiased_cka[first, second]})
    return rows


def _names(networks: Sequence[Network], pair: tuple[int, int]) -> dict[str, Any]:
    return {"first": networks[pair[0]].name, "second": networks[pair[1]].name}


def _matched_units(networks: Sequence[Network], pair: tuple[int, int], layer: str, moments: Moments) -> pd.DataFrame:
    correlation, within = moments.between(*pair), pair[0] == pair[1]
    partners, semi_partners = one_to_one(correlation, within), semi(correlation, within)
    columns = {
        "unit": np.arange(len(correlation)), "is_dead": ~moments.live(pair[0]), "partner": partners,
        "correlation": matched(correlation, partners), "semi_partner": semi_partners,
        "semi_correlation": matched(correlation, semi_partners),
    }  # fmt: skip
    return pd.DataFrame(_names(networks, pair) | {"layer": layer} | columns).round(_UNIT_DIGITS)


def _matrix(networks: Sequence[Network], pair: tuple[int, int], layer: str, moments: Moments) -> pd.DataFrame:
    correlation = moments.between(*pair)
    partners = one_to_one(correlation, pair[0] == pair[1])
    order = np.argsort(-matched(correlation, partners), kind="stable")
    order = order[partners[order] >= 0]
    kept = order[spread_over(range(len(order)), _SHOWN_UNITS)]
    rows, columns = np.divmod(np.arange(len(kept) ** 2), len(kept))
    values = {
        "row": rows, "column": columns,
        "correlation": correlation[np.ix_(kept, partners[kept])].ravel(),
        "unmatched_correlation": correlation[np.ix_(kept, kept)].ravel(),
    }  # fmt: skip
    return pd.DataFrame(_names(networks, pair) | {"layer": layer} | values).round(_DIGITS)
