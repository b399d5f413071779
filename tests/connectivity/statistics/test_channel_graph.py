"""Capacities and edges of channel graphs, each rule on a case made by hand."""

import math
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from examples import EXAMPLES, VARIANTS, WITHOUT_RULE, Chain, name_of
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import NETWORKS, make, random_masks
from random_networks import SHAPE, networks
from torch import Tensor, nn
from torchvision.ops.misc import Permute

from Layers import MaskedBatchNorm1d, MaskedBatchNorm2d, MaskedConv2d, MaskedIdentity, MaskedLinear, prunable
from Models import build
from Utils.connectivity.effective import effective_masks
from Utils.connectivity.ops.elementwise import Product
from Utils.connectivity.ops.table import OPERATIONS
from Utils.connectivity.statistics.channel_graph import channel_graph
from Utils.connectivity.statistics.paths import PathCounts
from Utils.connectivity.statistics.structural_rank import cuts, structural_rank
from Utils.errors import UserError


class Net(nn.Module):
    """Layers by name, and a function that uses them; its result is read by a dense layer of 99 outputs."""

    def __init__(self, function: Callable[..., Tensor], shape: tuple[int, ...], **layers: nn.Module) -> None:
        super().__init__()
        for name, layer in layers.items():
            self.add_module(name, layer)
        self.function = function
        features = function(self, torch.ones(2, *shape)).flatten(1).shape[1]
        self.head = MaskedLinear(features, 99)
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.function(self, x).flatten(1))


def one(inputs: int = 1, outputs: int = 1, **options: int) -> MaskedConv2d:
    """A convolution of single pixels."""
    return MaskedConv2d(inputs, outputs, 1, **options)


def masked(layer: MaskedBatchNorm2d | MaskedBatchNorm1d | MaskedIdentity, *kept: bool) -> nn.Module:
    """A layer with a mask of its scale."""
    layer.add_mask("weight")
    layer.weight_mask.copy_(torch.tensor(kept))
    return layer


MAP = (1, 4, 4)
RULES = {
    "a channel has a capacity of its positions": (16, MAP, lambda net, x: net.a(x), {"a": one()}),
    "of the output of a convolution with stride": (4, MAP, lambda net, x: net.a(x), {"a": one(stride=2)}),
    "two channels have twice that, of two inputs": (32, (2, 4, 4), lambda net, x: net.a(x), {"a": one(2, 2)}),
    "but one input channel has that of its own": (16, MAP, lambda net, x: net.a(x), {"a": one(1, 2)}),
    "pooling": (4, MAP, lambda net, x: F.max_pool2d(net.a(x), 2), {"a": one()}),
    "average pooling with overlap": (9, MAP, lambda net, x: F.avg_pool2d(net.a(x), 2, 1), {"a": one()}),
    "a global mean": (1, MAP, lambda net, x: net.a(x).mean((2, 3)), {"a": one()}),
    "global means of two channels": (2, (2, 4, 4), lambda net, x: F.adaptive_avg_pool2d(net.a(x), 1), {"a": one(2, 2)}),
    "a sum": (16, (2, 4, 4), lambda net, x: net.a(x) + net.b(x), {"a": one(2), "b": one(2)}),
    "a sum with the input": (16, MAP, lambda net, x: x + net.a(x), {"a": one()}),
    "a constant": (16, MAP, lambda net, x: 1 - net.a(x) / 2 + 3, {"a": one()}),
    "a concatenation": (32, (2, 4, 4), lambda net, x: torch.cat([net.a(x), net.b(x)], 1), {"a": one(2), "b": one(2)}),
    "a slice is still the vertex of its channel": (16, MAP, lambda net, x: net.a(x)[:, :, ::2, ::2], {"a": one()}),
    "a flattened map": (3, MAP, lambda net, x: net.b(net.a(x).flatten(1)), {"a": one(), "b": MaskedLinear(16, 3)}),
    "a linear layer at each position": (
        8, (1, 4, 2), lambda net, x: net.b(net.a(x)), {"a": one(), "b": MaskedLinear(2, 2)}),
    "softmax of channels joins positions' channels": (
        16, (3, 4, 4), lambda net, x: torch.softmax(net.a(x), 1), {"a": one(3, 1)}),
    "softmax has an output per entry": (
        3, (3,), lambda net, x: torch.softmax(net.a(x), 1), {"a": MaskedLinear(3, 3)}),
    "layer normalisation": (5, (5,), lambda net, x: F.layer_norm(net.a(x), (6,)), {"a": MaskedLinear(5, 6)}),
    "groups": (2, (2,), lambda net, x: net.b(net.a(x)[:, :, None, None]), {
        "a": MaskedLinear(2, 4), "b": one(4, 2, groups=2)}),
    "an input of entries": (9, (1, 3, 3), lambda net, x: net.a(x.flatten(1)), {"a": MaskedLinear(9, 50)}),
    "an input of channels": (9, (1, 3, 3), lambda net, x: net.a(x), {"a": one(1, 50)}),
}  # fmt: skip


@pytest.mark.parametrize("rule", RULES)
def test_capacity(rule):
    expected, shape, function, layers = RULES[rule]
    assert structural_rank(Net(function, shape, **layers), shape) == expected


def rank_without(model: Net, shape: tuple[int, ...], *pruned: str) -> int:
    """The rank without the layers that are named."""
    for name in pruned:
        model.get_submodule(name).weight_mask.fill_(False)
    return structural_rank(model, shape)


def test_a_skip_bypasses_a_pruned_layer_that_counts_as_cut():
    model = Net(lambda net, x: x + net.a(x), MAP, a=one())
    assert rank_without(model, MAP, "a") == 16
    assert cuts(model, MAP) == {"a.weight": 0, "head.weight": 99}


def test_a_gate_counts_as_open_and_carries_no_path():
    def gated(net: Net, x: Tensor) -> Tensor:
        x = net.a(x)
        return x * torch.sigmoid(net.gate(x.mean((2, 3))))[:, :, None, None]

    layers = {"a": one(2, 2), "gate": MaskedLinear(2, 2)}
    assert rank_without(Net(gated, (2, 3, 3), **layers), (2, 3, 3)) == 18
    assert rank_without(Net(gated, (2, 3, 3), **layers), (2, 3, 3), "gate") == 18
    assert rank_without(Net(gated, (2, 3, 3), **layers), (2, 3, 3), "a") == 0


def test_of_two_factors_of_one_size_the_second_is_gated():
    model = Net(lambda net, x: net.a(x) * net.b(x), (4,), a=MaskedLinear(4, 3), b=MaskedLinear(4, 3))
    model.b.weight_mask[1:] = False
    assert structural_rank(model, (4,)) == 1
    model.a.weight_mask[2:] = False
    model.b.weight_mask.fill_(True)
    assert structural_rank(model, (4,)) == 3


def test_a_parameter_is_no_gated_factor():
    model = Net(lambda net, x: net.a(x)[:, :, None] * net.b.weight, (3,), a=MaskedLinear(3, 3), b=nn.Linear(2, 3))
    assert structural_rank(model, (3,)) == 6 - 3


def test_groups_are_kept_apart():
    model = Net(lambda net, x: net.a(x), (4, 1, 1), a=one(4, 4, groups=2))
    model.a.weight_mask[:2, 1] = False  # the first two filters read channel 0, the others channels 2 and 3
    assert structural_rank(model, (4, 1, 1)) == 3
    model.head.weight_mask[:, 2:] = False
    assert structural_rank(model, (4, 1, 1)) == 1


def test_a_layer_that_is_called_twice_has_vertices_for_each_call():
    """The layer shifts the units by one: two calls shift them by two."""
    shape = (4,)
    once = Net(lambda net, x: net.a(x), shape, a=MaskedLinear(4, 4))
    twice = Net(lambda net, x: net.a(net.a(x)), shape, a=MaskedLinear(4, 4))
    for model in (once, twice):
        model.a.weight_mask.copy_(torch.diag(torch.ones(3), 1).bool())
    assert [structural_rank(model, shape) for model in (once, twice)] == [3, 2]


@pytest.mark.parametrize("flat", [False, True])
def test_a_pruned_scale_cuts_its_channel(flat):
    if flat:
        model = Net(lambda net, x: net.n(net.a(x)), (3,), a=MaskedLinear(3, 3), n=masked(MaskedBatchNorm1d(3), 1, 0, 1))
        assert structural_rank(model, (3,)) == 2
    else:
        layers = {"a": one(3, 3), "n": masked(MaskedBatchNorm2d(3), 0, 0, 1), "s": masked(MaskedIdentity(3), 0, 1, 0)}
        model = Net(lambda net, x: net.n(net.a(x)) + net.s(x), (3, 2, 2), **layers)
        assert structural_rank(model, (3, 2, 2)) == 8


@pytest.mark.parametrize(("kept", "rank"), [((1, 1), 8), ((1, 0), 4), ((0, 1), 8), ((0, 0), 4)])
def test_a_pruned_skip_carries_no_path_into_a_sum_that_lives(kept, rank):
    """The branch reads channel 0 only, and so cannot carry more than its 4 pixels; the skip of channel 1 can."""
    layers = {"a": one(2, 2), "s": masked(MaskedIdentity(2), *kept)}
    model = Net(lambda net, x: net.a(x) + net.s(x), (2, 2, 2), **layers)
    model.a.weight_mask[:, 1] = False
    assert structural_rank(model, (2, 2, 2)) == rank


def test_biases_start_no_path():
    model = Net(lambda net, x: net.b(net.a(x)), (2,), a=MaskedLinear(2, 2), b=MaskedLinear(2, 2))
    assert rank_without(model, (2,), "a") == 0


def test_only_outputs_end_paths():
    """A dead end of many units changes nothing."""
    model = Net(lambda net, x: (net.side(x), net.a(x))[1], (5,), side=nn.Linear(5, 50), a=MaskedLinear(5, 1))
    assert structural_rank(model, (5,)) == 1


def test_many_edges_between_two_vertices_are_one():
    """Features that alternate between two channels of 90,000 pixels: their number times the capacity exceeds 2^32."""
    shape = (1, 300, 300)
    model = nn.Sequential(one(1, 2), Permute([0, 2, 3, 1]), nn.Flatten(), MaskedLinear(2 * 90_000, 3))
    assert structural_rank(model, shape) == 3
    model[3].weight_mask[0, 0] = False  # now each unit has edges of its own
    assert structural_rank(model, shape) == 3


def test_edges_count_kernel_entries():
    """Taps of a kernel, and features of one channel after flattening."""
    model = Net(lambda net, x: net.a(x), MAP, a=MaskedConv2d(1, 1, 3))
    model.a.weight_mask[0, 0] = torch.tensor([[1, 1, 0], [0, 1, 0], [0, 0, 0]]).bool()
    model.head.weight_mask[1:] = False
    model.head.weight_mask[0] = torch.tensor([1, 0, 1, 0]).bool()
    graph = channel_graph(model, MAP)
    edges = graph.edges({name: mask for name, (_, mask) in prunable(model).items()})
    assert PathCounts.of(graph, edges).log_total(graph) == pytest.approx(math.log(3 * 2))


@pytest.mark.parametrize(("key", "example"), [*EXAMPLES.items(), *VARIANTS], ids=lambda value: name_of(value)[:30])
def test_units_of_every_operation_are_on_a_path_if_they_have_an_effective_weight(key, example):
    if key in WITHOUT_RULE:
        with pytest.raises(UserError, match="no rule says how the operation"):
            channel_graph(Chain(example), (3,))
        return
    model = Chain(example).eval()
    has_gate = isinstance(OPERATIONS[key], Product) and example.inputs == 2
    for seed in range(3):
        effective = effective_masks(model, (3,), random_masks(model, 0.4, seed))
        check_units(model, (3,), effective, has_gate)


@settings(max_examples=60, deadline=None)
@given(model=networks(), density=st.sampled_from([0.15, 0.3, 0.5, 0.8]), seed=st.integers(0, 10**6))
def test_units_of_random_networks(model, density, seed):
    effective = effective_masks(model, SHAPE, random_masks(model, density, seed))
    check_units(model, SHAPE, effective, any(hasattr(module, "activation") for module in model.modules()))


@pytest.mark.parametrize("name", NETWORKS)
def test_units_of_known_networks(name):
    model, shape = make(name)
    for seed in range(5):
        effective = effective_masks(model, shape, random_masks(model, 0.4, seed))
        check_units(model, shape, effective, name in ("gate", "product"))


@pytest.mark.parametrize("name", ["lenet5", "lottery/resnet20", "gem-miner/resnet20", "union/resnet20"])
def test_units_of_architectures(name):
    model = build(name)
    check_units(model, (3, 32, 32), effective_masks(model, (3, 32, 32), random_masks(model, 0.02, 0)), False)


def check_units(model: nn.Module, shape: tuple[int, ...], effective: dict[str, Tensor], has_gate: bool) -> None:
    """Whether the units of masked layers that lie on a path are those with an effective weight, gates apart."""
    graph = channel_graph(model, shape)
    through = PathCounts.of(graph, graph.edges(effective)).through.mantissas > 0
    for layer in graph.record.layers:
        if layer.parameter in effective:
            is_effective = effective[layer.parameter].flatten(1).any(1).numpy()
            is_on_path = through[layer.units]
            assert not (is_on_path & ~is_effective).any()
            assert has_gate or (is_on_path == is_effective).all(), layer.parameter
