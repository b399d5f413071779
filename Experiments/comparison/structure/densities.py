"""Densities of layers: what the mask keeps, what of it is effective, and what is lost between the two."""

import numpy as np
import pandas as pd

from Experiments.comparison.networks import Layer, Network
from Experiments.comparison.structure.signs import is_shortcut

DENSITIES = ["kept_density", "effective_density", "kept_relative", "effective_relative", "lost_share"]

OVERALL = "overall"
"""What stands in place of the layer for all layers together."""


def layer_densities(network: Network, shortcuts: bool = True) -> pd.DataFrame:
    """The densities of a network, a row per layer and one for all together.

    Columns: `layer`; `size`, `kept` and `effective` (numbers of weights); `lost`, the kept weights that are on no path
    from an input to an output; `lost_share` of the kept ones, NaN if there are none; `kept_density` and
    `effective_density` (shares of the layer); `kept_relative` and `effective_relative` (shares of the weights of all
    layers, which add up to the density of all).
    """
    layers = [layer for layer in network.layers if shortcuts or not is_shortcut(layer.name)]
    table = pd.DataFrame([_counts(layer) for layer in layers])
    total = table.drop(columns="layer").sum()
    table = pd.concat([table, pd.DataFrame([{"layer": OVERALL, **total}])], ignore_index=True)
    table["lost"] = table["kept"] - table["effective"]
    table["lost_share"] = table["lost"] / table["kept"].where(table["kept"] > 0)
    for kind in ("kept", "effective"):
        table[f"{kind}_density"] = table[kind] / table["size"]
        table[f"{kind}_relative"] = table[kind] / total["size"]
    return table


def _counts(layer: Layer) -> dict[str, str | int]:
    kept, effective = (int(np.count_nonzero(mask)) for mask in (layer.kept, layer.effective))
    return {"layer": layer.name, "size": layer.kept.size, "kept": kept, "effective": effective}
