"""Pairs of compared networks: what they need to have in common, how tables name them, and those that are shown."""

from collections.abc import Sequence
from itertools import combinations
from typing import Any, TypeVar

import numpy as np

from Experiments.comparison.networks import Network
from Utils.errors import UserError

_Item = TypeVar("_Item")


def check_same_layers(networks: Sequence[Network]) -> None:
    """Raise `UserError` unless all networks have layers of the same names and shapes, and inputs of the same shape."""
    first = networks[0]
    for other in networks[1:]:
        if other.input_shape != first.input_shape:
            shapes = " and ".join("x".join(map(str, network.input_shape)) for network in (first, other))
            raise UserError(
                f"{first.name} and {other.name} read inputs of {shapes}; compare networks of one input shape"
            )
        layers, others = ([(layer.name, layer.weights.shape) for layer in network.layers] for network in (first, other))
        for place in range(max(len(layers), len(others))):
            ours, theirs = (_described(shapes, place) for shapes in (layers, others))
            if ours != theirs:
                difference = f"layer {place + 1} is {ours} and {theirs}"
                raise UserError(f"{first.name} and {other.name} differ: {difference}; compare networks of one shape")


def pair_columns(first: Network, second: Network) -> dict[str, Any]:
    """The columns that name a pair: `first`, `second`, and the group and sample of each."""
    names = {"first": first.name, "second": second.name}
    groups = {"first_group": first.group, "second_group": second.group}
    return names | groups | {"first_sample": first.sample, "second_sample": second.sample}


def shown_pairs(networks: Sequence[Network]) -> list[tuple[str, str]]:
    """The first two networks of each group, and the first networks of every two groups."""
    groups: dict[str, list[str]] = {}
    for network in networks:
        groups.setdefault(network.group, []).append(network.name)
    samples = [(names[0], names[1]) for names in groups.values() if len(names) > 1]
    return samples + list(combinations((names[0] for names in groups.values()), 2))


def pictured_pairs(networks: Sequence[Network]) -> list[tuple[str, str]]:
    """The few of `shown_pairs` whose units are compared one by one: at most four of one group, and two of others."""
    groups = {network.name: network.group for network in networks}
    pairs = shown_pairs(networks)
    samples = [pair for pair in pairs if groups[pair[0]] == groups[pair[1]]]
    return [*spread_over(samples, 4), *spread_over([pair for pair in pairs if pair not in samples], 2)]


def spread_over(items: Sequence[_Item], most: int) -> list[_Item]:
    """At most `most` of the items, evenly spaced from the first to the last."""
    places = np.linspace(0, max(0, len(items) - 1), min(most, len(items))).round().astype(int)
    return [items[place] for place in places]


def _described(layers: Sequence[tuple[str, tuple[int, ...]]], place: int) -> str:
    if place >= len(layers):
        return "missing"
    name, shape = layers[place]
    return f"{name} ({'x'.join(map(str, shape))})"
