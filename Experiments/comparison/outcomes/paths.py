"""Linear paths between compared networks, as they are and after the units of the second one were permuted."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from Experiments.common.linear_path import POINTS, barriers, linear_path
from Experiments.comparison.networks import Network
from Experiments.comparison.outcomes.permuting import permuted
from Experiments.comparison.pairs import check_same_layers, pair_columns
from Utils.config.groups import Machine
from Utils.config.resolved import Recipe
from Utils.data.dataset import Data

Permutations = Mapping[tuple[str, str], Mapping[str, np.ndarray]]
"""The order of the units of the second network by the names of the pair, then by layer, as `permuted` takes it."""


def path_tables(
    pairs: Iterable[tuple[Network, Network]],
    data: Data,
    recipe: Recipe,
    machine: Machine | None = None,
    permutations: Permutations | None = None,
    points: int = POINTS,
) -> dict[str, pd.DataFrame]:
    """Loss and accuracy on the straight line between the weights of two networks (Frankle et al. 2020).

    `paths` has a row for each pair, `alignment` (`none`, and `matched` where permutations are given) and point:
    `first`, `second`, their groups and samples, `alignment`, and the columns of `linear_path`. `barriers` has a row for
    each pair and alignment, with the columns of `barriers`: how far loss and error rise above the line between the
    ends. Raises `UserError` for networks of other shapes, and as `permuted` does.
    """
    paths, rows = [], []
    for first, second in pairs:
        check_same_layers([first, second])
        ends: dict[str, Any] = {"none": second.model}
        order = (permutations or {}).get((first.name, second.name))
        if order is not None:
            ends["matched"] = permuted(second.model, second.input_shape, order)
        for alignment, end in ends.items():
            columns = {**pair_columns(first, second), "alignment": alignment}
            path = linear_path(first.model, end, data, recipe, machine, points)
            paths.append(pd.DataFrame(columns, index=path.index).join(path))
            rows.append({**columns, **barriers(path)})
    return {"paths": pd.concat(paths, ignore_index=True) if paths else pd.DataFrame(), "barriers": pd.DataFrame(rows)}
