"""Symmetries of networks: permutations of their streams keep the function, and what has none is refused."""

import numpy as np
import pytest
import torch
from networks import make
from permuted import Blocks, flattening, inputs, masked, network, permuted, random_partners, symmetries
from torch import nn

from Experiments.comparison.distances.alignment import kernels_of, rows
from Experiments.comparison.distances.comparing import Alignment, alignment_of, distances
from Experiments.comparison.distances.measures import MEASURES
from Experiments.comparison.distances.symmetries import symmetries_of
from Layers import MaskedConv2d, MaskedLinear
from Utils.errors import UserError

NORMS = {"residual": {"norm": "stem"}}


@pytest.mark.parametrize("name", ["residual", "concatenation", "gate", "product", "max-pooled"])
def test_permutations_keep_the_function(name):
    """All that is found from the graph: tied units, concatenated channels, gates, flattened maps."""
    model, shape = make(name)
    own = network(masked(model, 0.9), shape)
    found = symmetries(own)
    partners = random_partners(found, 5)
    other = permuted(own, partners, NORMS.get(name, {}))
    assert found.streams and (partners != found.identity).any()
    x = inputs(own)
    torch.testing.assert_close(own.model(x), other.model(x), rtol=1e-5, atol=1e-6)
    alignment = Alignment("none", found)
    twin = alignment.aligned(kernels_of(own.layers), partners)
    for layer in other.layers:
        np.testing.assert_array_equal(rows(twin[layer.name]), layer.weights.reshape(len(layer.weights), -1))


def test_streams_of_a_residual_network():
    found = symmetries_of(Blocks(), (2, 4, 4), network(Blocks(), (2, 4, 4)).layers)
    made = [sorted(found.makers(stream)) for stream in found.streams]
    assert made == [["second", "stem"], ["first"], ["fourth", "shortcut"], ["third"]]
    assert [len(stream) for stream in found.streams] == [8, 7, 12, 9]
    assert found.is_tied and alignment_of([network(Blocks(), (2, 4, 4))]).kind == "tied"
    plain = network(flattening(), (1, 4, 6))
    assert alignment_of([plain]).kind == "first-layer-first"
    assert [len(stream) for stream in symmetries(plain).streams] == [6, 5, 8]


class Normalised(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm, self.head = MaskedLinear(4, 6), nn.LayerNorm(6), MaskedLinear(6, 2)

    def forward(self, x):
        return self.head(self.norm(self.stem(x)))


def test_what_permutations_do_not_commute_with_is_refused():
    grouped = nn.Sequential(
        MaskedConv2d(2, 8, 3), nn.ReLU(), MaskedConv2d(8, 8, 3, groups=2), nn.ReLU(), nn.Flatten(), MaskedLinear(8, 2)
    )
    with pytest.raises(UserError, match="units of Sequential cannot be aligned: 2 reads them in groups; compare"):
        alignment_of([network(grouped, (2, 5, 5))])
    with pytest.raises(UserError, match=r"cannot be aligned: LayerNorm \(norm\) of Normalised joins several; compare"):
        alignment_of([network(Normalised(), (4,))])
    own = network(Normalised(), (4,))
    kernels = kernels_of(own.layers)
    assert (
        distances(alignment_of([own], "none"), kernels, kernels, MEASURES["ned"], np.random.default_rng(0)) == 0
    ).all()
    with pytest.raises(UserError, match="unknown alignment 'ties'; did you mean 'tied'"):
        alignment_of([own], "ties")


def test_units_that_share_a_normalisation_channel_move_together():
    model = nn.Sequential(
        MaskedLinear(5, 8), nn.Unflatten(1, (2, 4)), nn.BatchNorm1d(2), nn.Flatten(), MaskedLinear(8, 3)
    )
    found = symmetries(network(model, (5,)))
    (stream,) = found.streams
    assert found.layers["0"].units.entries(stream).tolist() == [[0, 1, 2, 3], [4, 5, 6, 7]]


def test_depthwise_filters_follow_their_channels():
    model = nn.Sequential(
        MaskedConv2d(2, 6, 3), nn.ReLU(), MaskedConv2d(6, 6, 3, groups=6), nn.ReLU(), nn.Flatten(), MaskedLinear(6, 2)
    )
    own = network(masked(model, 0.8), (2, 5, 5))
    other = permuted(own, random_partners(symmetries(own)))
    x = inputs(own)
    torch.testing.assert_close(own.model(x), other.model(x), rtol=1e-5, atol=1e-6)
    pair = kernels_of(own.layers), kernels_of(other.layers)
    assert (distances(alignment_of([own, other]), *pair, MEASURES["sasd"], np.random.default_rng(0)) == 0).all()
