"""Quota `structured`: weights drawn as tiles, in the first rows of every layer.

The random network with structure of the sparse-network-analysis program, for any criterion, network and target.
"""

import math
from array import array
from collections.abc import Mapping, Sequence
from decimal import Decimal
from fractions import Fraction

import numpy as np
import torch
from torch import Tensor

from Pruners.criteria.scores import Scores
from Pruners.schedules.quotas import best_first, positions_in_layer
from Utils.config.groups import Pruning
from Utils.errors import UserError


def structured(
    scores: Mapping[str, Tensor],
    masks: Mapping[str, Tensor],
    draws: Sequence[Decimal] = Pruning.draws,
    active_rows: Sequence[Decimal] = Pruning.active_rows,
    tile: tuple[int, ...] = Pruning.tile,
) -> Scores:
    """Tiles, drawn in the order of the scores: draw d of a layer with D draws scores -d / D.

    A layer is a matrix of units (rows: outputs, filters) and inputs (columns: of a filter, channels times kernel). A
    draw takes the best empty entry (x, y) of the first `active_rows` rows; with random scores, that is any. It places a
    tile of height h and width w: h entries down from (x, y), then w - 1 to the right of it, up to an entry that is
    placed already or the end of the row. Where the last row cuts the tile off, it has no entries to the right. Entries
    outside the tiles come last, once all active rows are full, at the same density in every layer.

    `draws` and `active_rows` have three values, for the first, every hidden and the last layer, or one for each layer;
    at most 1 is a fraction, of the active entries and of the units. Only the ratios of draws matter, because the target
    decides how far all layers are drawn; every layer has had its draws when the scores reach -1. The defaults are the
    program's: on a network of 784-100-100-100-100-100-10 units 600, 400 and 200 draws, and 6, 30 and 10 rows.
    A bias or a normalisation is a matrix of one column, with the fractions of the layer before it.
    Raises `UserError` like `check_structured`.
    """
    plans = check_structured(scores, draws, active_rows)
    times = {name: _times(score, masks[name], *plans[name], tile) for name, score in scores.items()}
    end = math.ceil(max(float(time.nan_to_num(posinf=0).max()) for time in times.values()))
    rest = {name: end + positions_in_layer(score, masks[name]) / score.numel() for name, score in scores.items()}
    return Scores({name: -time.where(time.isfinite(), rest[name]) for name, time in times.items()})


def check_structured(
    parameters: Mapping[str, Tensor],
    draws: Sequence[Decimal] = Pruning.draws,
    active_rows: Sequence[Decimal] = Pruning.active_rows,
    tile: tuple[int, ...] = Pruning.tile,
) -> dict[str, tuple[int, int]]:
    """The number of active rows and of draws of each parameter.

    Raises `UserError` for another number of values than the layers need, and for more rows or draws than a layer has.
    """
    kernels = {name: (len(kernel), kernel[0].numel()) for name, kernel in parameters.items() if kernel.dim() > 1}
    shares = []
    rows_of, draws_of = _per_layer("active_rows", active_rows, len(kernels)), _per_layer("draws", draws, len(kernels))
    for (name, (units, inputs)), rows, count in zip(kernels.items(), rows_of, draws_of, strict=True):
        row_share = _share("active_rows", rows, units, f"units in {name}")
        active = _rounded(row_share * units) * inputs
        shares.append((row_share, _share("draws", count, active, f"weights in the active rows of {name}")))
    plans = {}
    layer = -1
    for name, parameter in parameters.items():
        layer += name in kernels
        row_share, draw_share = shares[max(layer, 0)]
        rows = _rounded(row_share * len(parameter))
        plans[name] = rows, _rounded(draw_share * rows * parameter[0].numel())
    return plans


def _per_layer(flag: str, values: Sequence[Decimal], layers: int) -> list[Decimal]:
    """One value for each layer, of three values or as many as there are layers."""
    if len(values) == layers:
        return list(values)
    if len(values) != 3:
        raise UserError(
            f"--{flag} needs three values, for the first, the hidden and the last layer, or one for each of the "
            f"{layers} layers, not {len(values)}"
        )
    first, hidden, last = values
    return [first, *[hidden] * (layers - 2), last][-layers:]


def _share(flag: str, value: Decimal, total: int, what: str) -> Fraction:
    """The fraction of `total` that a fraction or a number stands for; raises `UserError` for a larger number."""
    if value > total:
        raise UserError(f"--{flag}={value} is more than the {total} {what}; give at most that, or a fraction up to 1")
    return Fraction(value) if value <= 1 else Fraction(value) / total


def _rounded(number: Fraction) -> int:
    """The nearest whole number, at least 1."""
    return max(1, round(number))


def _times(scores: Tensor, mask: Tensor, rows: int, draws: int, tile: tuple[int, ...]) -> Tensor:
    """When each entry is placed, in the shape of the scores: between d - 1 and d in draw d, divided by `draws`.

    Infinite for entries that are outside the tiles or pruned.
    """
    (height, width), inputs, total = tile, scores[0].numel(), scores.numel()
    anchors = best_first(scores[:rows], mask[:rows]).tolist()
    empty = bytearray(mask.cpu().numpy().tobytes())
    times = array("d", [math.inf]) * total
    drawn = 0
    for anchor in anchors:
        if not empty[anchor]:
            continue
        down = range(anchor, min(anchor + height * inputs, total), inputs)
        placed = [entry for entry in down if empty[entry]]
        if len(down) == height:
            for entry in range(anchor + 1, min(anchor + width, anchor - anchor % inputs + inputs)):
                if not empty[entry]:
                    break
                placed.append(entry)
        for place, entry in enumerate(placed):
            empty[entry] = False
            times[entry] = (drawn + (place + 0.5) / (height + width - 1)) / draws
        drawn += 1
    return torch.from_numpy(np.array(times)).reshape(scores.shape).to(scores.device)
