"""Tables of distances: all pairs of networks by layer and as a whole, the order that clusters them, and their units."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import combinations, product

import numpy as np
import pandas as pd
from scipy.cluster.hierarchy import leaves_list, linkage

from Experiments.comparison.choices import VARIANTS
from Experiments.comparison.distances.alignment import Kernels, kernels_of, rows
from Experiments.comparison.distances.comparing import Alignment, alignment_of, distances
from Experiments.comparison.distances.measures import MEASURES, REDUCTIONS, Measure, measure
from Experiments.comparison.distances.nulls import WithNull, with_null
from Experiments.comparison.distances.overlaps import overlap
from Experiments.comparison.distances.thesis import thesis_distances, thesis_kernels
from Experiments.comparison.networks import Network
from Experiments.comparison.pairs import check_same_layers, pair_columns, spread_over
from Utils.errors import UserError, unknown

_MEAN = "mean"

_SHOWN_LAYERS, _SHOWN_UNITS, _DIGITS = 6, 48, 4


def distance_tables(
    networks: Sequence[Network],
    generator: np.random.Generator,
    measures: Sequence[str] = tuple(MEASURES),
    alignment: str = "auto",
    steps: int = 0,
    nulls: int = 5,
    variant: str = "corrected",
    null_model: str = "layer",
) -> dict[str, pd.DataFrame]:
    """Distances of all pairs of networks, each beside that of `nulls` pairs of random networks, as a null model draws.

    `layer_distances`: a row per `measure`, pair (`first`, `second`, `first_group`, `second_group`, `first_sample`,
    `second_sample`), `layer` and `reduction` with `distance`, `null_mean` and `null_std`.
    `network_distances`: the same without `layer`: means over layers.
    `distance_order`: for each `measure`, the `place` of each network (`network`, `group`, `sample`) in the order of
    hierarchical clustering with average linkage of its first reduction, `live` (`micro` in the thesis).

    `alignment` is one of `ALIGNMENTS`, `steps` the number of swaps that a local search tries after it. The variant
    `thesis` has `ned` and `micro` only. Raises `UserError` for fewer than two networks, networks of other shapes, and
    an unknown name.
    """
    _check(networks)
    if variant not in VARIANTS:
        raise unknown("variant", variant, VARIANTS)
    chosen = {name: measure(name) for name in measures}
    if variant == "thesis":
        axes, compare = (["ned"], ["micro"]), _thesis
        kernels = [thesis_kernels(network.layers) for network in networks]
    else:
        axes = (list(chosen), REDUCTIONS)
        compare = partial(_corrected, alignment_of(networks, alignment, steps), generator, chosen)
        kernels = [kernels_of(network.layers) for network in networks]
    table = _all_pairs(
        networks, kernels, axes, partial(with_null, compare, nulls=nulls, generator=generator, model=null_model)
    )
    is_mean = table["layer"] == _MEAN
    layers, means = table[~is_mean], table[is_mean].drop(columns="layer")
    tables = {"layer_distances": layers, "network_distances": means, "distance_order": _order(networks, means)}
    return {name: table.reset_index(drop=True) for name, table in tables.items()}


def mask_overlap_table(networks: Sequence[Network]) -> pd.DataFrame:
    """Intersection over union of the effective masks of all pairs, unit by unit, without alignment.

    A row per pair and `layer`: `iou`, and its expectation `chance` and deviation `chance_std` for masks of the same
    number of effective weights at random positions. Raises `UserError` as `distance_tables` does.
    """
    _check(networks)
    return pd.DataFrame([
        pair_columns(first, second) | {"layer": own.name} | overlap(own.effective, other.effective)._asdict()
        for first, second in combinations(networks, 2)
        for own, other in zip(first.layers, second.layers, strict=True)
    ])  # fmt: skip


def unit_distance_table(
    networks: Sequence[Network],
    shown: Sequence[tuple[str, str]],
    generator: np.random.Generator,
    measures: Sequence[str] = tuple(MEASURES),
    alignment: str = "auto",
    steps: int = 0,
) -> pd.DataFrame:
    """Distances of the units of pairs of networks, for at most 6 layers and 48 units of each.

    A row per `measure`, pair (`first`, `second`), `layer`, `row` and `column`: `distance` is that of the unit at `row`
    of the first network to the partner of the unit at `column`, after alignment, and `unaligned_distance` that to the
    unit of the same number as stored. Rows are in the order of the distance to the partner, live units first.
    """
    _check(networks)
    by_name, own = {network.name: network for network in networks}, alignment_of(networks, alignment, steps)
    tables = []
    for name, (one, other) in product(measures, shown):
        first, second = (kernels_of(by_name[key].layers) for key in (one, other))
        aligned = own.aligned(second, own.partners(first, second, measure(name), generator))
        for layer in spread_over(list(first), _SHOWN_LAYERS):
            columns = {"measure": name, "first": one, "second": other, "layer": layer}
            sides = (rows(kernels[layer]) for kernels in (first, aligned, second))
            tables.append(pd.DataFrame(columns | _matrices(measure(name), *sides)))
    return pd.concat(tables, ignore_index=True)


def _check(networks: Sequence[Network]) -> None:
    if len(networks) < 2:
        raise UserError(f"distances need two networks or more, not {len(networks)}; add runs")
    check_same_layers(networks)


def _corrected(
    alignment: Alignment,
    generator: np.random.Generator,
    measures: Mapping[str, Measure],
    first: Kernels,
    second: Kernels,
) -> np.ndarray:
    """Distances (measures, layers and their mean, reductions)."""
    values = np.array([distances(alignment, first, second, own, generator) for own in measures.values()])
    return np.concatenate([values, values.mean(1, keepdims=True)], axis=1)


def _thesis(first: Kernels, second: Kernels) -> np.ndarray:
    values = thesis_distances(first, second)
    return np.append(values, values.mean()).reshape(1, -1, 1)


def _all_pairs(
    networks: Sequence[Network],
    kernels: Sequence[Kernels],
    axes: tuple[Sequence[str], Sequence[str]],
    compare: Callable[[Kernels, Kernels], WithNull],
) -> pd.DataFrame:
    """A row for each entry of the distances (measures, layers and their mean, reductions) of each pair of networks."""
    measures, kinds = axes
    places = list(product(measures, [*kernels[0], _MEAN], kinds))
    records = []
    for one, other in combinations(range(len(networks)), 2):
        values = {name: array.ravel() for name, array in compare(kernels[one], kernels[other])._asdict().items()}
        columns = pair_columns(networks[one], networks[other])
        records += [
            {"measure": own, **columns, "layer": layer, "reduction": kind}
            | {name: float(array[number]) for name, array in values.items()}
            for number, (own, layer, kind) in enumerate(places)
        ]
    return pd.DataFrame(records)


def _order(networks: Sequence[Network], means: pd.DataFrame) -> pd.DataFrame:
    tables = []
    for own, part in means[means["reduction"] == means["reduction"].iloc[0]].groupby("measure", sort=False):
        # Pairs are in the order of a condensed matrix of distances.
        leaves = leaves_list(linkage(part["distance"], "average", optimal_ordering=True))
        ordered = [networks[leaf] for leaf in leaves]
        names = {key: [getattr(network, key) for network in ordered] for key in ("group", "sample")}
        tables.append(pd.DataFrame({
            "measure": own, "place": range(len(ordered)), "network": [network.name for network in ordered], **names
        }))  # fmt: skip
    return pd.concat(tables, ignore_index=True)


def _matrices(own: Measure, first: np.ndarray, aligned: np.ndarray, second: np.ndarray) -> dict[str, np.ndarray]:
    """The columns of the table of unit distances for one layer."""
    is_dead = ~(first.any(1) | aligned.any(1))
    order = np.lexsort((own.paired(first, aligned).ratios, is_dead))
    kept = order[spread_over(range(len(order)), _SHOWN_UNITS)]
    row, column = np.divmod(np.arange(len(kept) ** 2), len(kept))
    matrices = {"distance": aligned, "unaligned_distance": second}
    return {"row": row, "column": column} | {
        name: own.between(first[kept], other[kept]).ratios.ravel().round(_DIGITS) for name, other in matrices.items()
    }
