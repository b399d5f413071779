"""Smart ratios: the number of weights that each layer keeps, falling with depth, whatever the weights are.

Su et al. 2020, "Sanity-checking pruning methods: Random tickets can win the jackpot".
"""

import math
from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction
from typing import NamedTuple

from Utils.errors import UserError

_DIGITS = 10**6
"""Reachable densities are told in parts of this, rounded so that they can be asked for."""

Density = Decimal | float | str
"""A fraction of weights to keep; a float is read as its shortest decimal representation."""


class LayerShares(NamedTuple):
    """What each layer keeps, from the first to the last."""

    counts: list[int]
    """Numbers of weights."""
    densities: list[float]
    """Fractions of weights, before rounding down to whole weights."""


def smart_ratio_counts(
    sizes: Sequence[int],
    density: Density,
    is_plain: bool,
    last_density: Density = 0.3,
    first_density: Density | None = None,
) -> LayerShares:
    """Kept weights of layers of `sizes` weights each, of which the network keeps the fraction `density` in all.

    Of L layers, the last keeps `last_density`, and the density of layer l is proportional to (L-l+1)^2 + (L-l+1); in a
    plain network without skips, such as VGG, to that over l^2. `first_density` sets that of the first layer, too.
    Weights that a layer has no room for go to the next ones, in whole weights as in the Gem-Miner program. The total is
    at most `density` of all weights, and less than one weight per layer below. Raises `UserError` for fewer layers
    than the densities leave one free, and for a density out of reach.
    """
    shares = _checked({"density": density, "last_density": last_density, "first_density": first_density or 0})
    first = int(first_density is not None)
    depth = len(sizes)
    if depth < first + 2:
        raise UserError(f"smart ratios need at least {first + 2} masked layers; this network has {depth}")
    kept = [shares["first_density"] * sizes[0]] * first
    last = shares["last_density"] * sizes[-1]
    requested, free = shares["density"] * sum(sizes), sizes[first:-1]
    _check_reachable(requested, sum(kept) + last, sum(free), sum(sizes))
    weights = [_weight(depth, layer, is_plain) for layer in range(first + 1, depth)]
    products = [weight * size for weight, size in zip(weights, free, strict=True)]
    scale = (requested - sum(kept) - last) / sum(products)
    kept += [*_without_overflow([scale * product for product in products], free), last]
    return LayerShares([int(count) for count in kept], [float(n / size) for n, size in zip(kept, sizes, strict=True)])


def _weight(depth: int, layer: int, is_plain: bool) -> Fraction:
    """Relative density of a layer, counted from 1, of a network with `depth` layers."""
    remaining = depth - layer + 1
    return Fraction(remaining**2 + remaining, layer**2 if is_plain else 1)


def _without_overflow(kept: list[Fraction], sizes: Sequence[int]) -> list[Fraction]:
    """Numbers of weights to keep, none above the size of its layer: what overflows fills the next layers."""
    result = []
    pushed, exact = 0, Fraction(0)
    for count, size in zip(kept, sizes, strict=True):
        room = size - count
        if room >= pushed:
            result.append(count + pushed)
            pushed, exact = 0, Fraction(0)
        else:
            result.append(Fraction(size))
            exact -= room
            # The program rounds room down, too: without the minimum, full layers could add up to a weight too many.
            pushed = min(pushed - int(room), int(exact))
    return result


def _checked(densities: dict[str, Density]) -> dict[str, Fraction]:
    """The densities as exact fractions; raises `UserError` for one that is not between 0 and 1."""
    shares = {name: Fraction(str(value)) for name, value in densities.items()}
    for name, share in shares.items():
        if not 0 <= share <= 1:
            raise UserError(f"{name.replace('_', ' ')} must be between 0 and 1, not {densities[name]}")
    return shares


def _check_reachable(requested: Fraction, fixed: Fraction, free: int, total: int) -> None:
    """Raise `UserError` unless the layers without a fixed density can keep the rest of the `requested` weights."""
    if not fixed <= requested <= fixed + free:
        lowest = math.ceil(fixed / total * _DIGITS) / _DIGITS
        highest = math.floor((fixed + free) / total * _DIGITS) / _DIGITS
        raise UserError(
            f"smart ratios cannot keep {float(requested):g} of {total} weights: the layers of fixed density keep "
            f"{float(fixed):g} and the others have {free}; ask for a density from {lowest:g} to {highest:g}"
        )
