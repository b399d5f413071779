"""Numbers of paths and the statistics that follow from them, against enumeration, matrix products and hand cases."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from brute_force import all_paths, matrices, mlp
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import NETWORKS, make, random_masks
from random_networks import SHAPE, networks
from torch import Tensor, nn

from Layers import MaskedConv2d, MaskedLinear, Masks, prunable
from Models import build
from Utils.connectivity.effective import effective_masks
from Utils.connectivity.statistics.channel_graph import channel_graph
from Utils.connectivity.statistics.graph import GraphStatistics, graph_statistics
from Utils.connectivity.statistics.paths import BigNumbers, PathCounts, participation_width

seeds = st.integers(0, 10**6)
densities = st.sampled_from([0.15, 0.3, 0.5, 0.8])


def statistics_of(model: nn.Module, shape: tuple[int, ...], masks: Masks) -> GraphStatistics:
    return graph_statistics(model, shape, effective_masks(model, shape, masks))


def test_entries_that_reach_only_padding_are_on_no_path_of_a_dense_network():
    model = nn.Sequential(MaskedConv2d(3, 2, 3, padding=1), nn.Flatten(), MaskedLinear(2, 2))
    statistics = graph_statistics(model, (3, 1, 1))
    assert statistics.log_paths == pytest.approx(math.log(3 * 2 * 2))
    assert statistics.scaled_paths == statistics.node_path_balance == 1


@settings(max_examples=100, deadline=None)
@given(sizes=st.lists(st.integers(1, 4), min_size=2, max_size=5), density=densities, seed=seeds)
def test_an_mlp_has_the_paths_nodes_and_shares_of_an_enumeration(sizes, density, seed):
    model = mlp(sizes)
    masks = random_masks(model, density, seed)
    paths = all_paths(matrices(masks))
    statistics = statistics_of(model, (sizes[0],), masks)
    assert statistics.log_paths == pytest.approx(math.log(len(paths)) if paths else -math.inf)
    assert statistics.effective_nodes == len({(place, unit) for path in paths for place, unit in enumerate(path)})
    edges = {(place, *edge) for path in paths for place, edge in enumerate(pairwise(path))}
    assert statistics.effective_parameters == len(edges)
    for place, (name, width) in enumerate(statistics.participation_widths.items()):
        counts = np.bincount([path[place + 1] for path in paths], minlength=len(masks[name]))
        assert width == pytest.approx(counts.sum() ** 2 / (counts**2).sum() if paths else 0)
    weights = [abs(model[2 * place].weight[after, before].item()) for place, before, after in edges]
    nodes = statistics.effective_nodes
    assert statistics.node_strength == pytest.approx(sum(weights) / nodes if nodes else 0)


@settings(max_examples=40, deadline=None)
@given(density=densities, seed=seeds)
def test_convolutions_count_taps_as_matrix_products_do(density, seed):
    """A path per tap: the product of the matrices with the numbers of taps; after flattening, of features."""
    model = nn.Sequential(
        MaskedConv2d(3, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), MaskedConv2d(4, 6, 2, groups=2), nn.Flatten(),
        MaskedLinear(6 * 9, 5), MaskedLinear(5, 2),
    )  # fmt: skip
    effective = effective_masks(model, (3, 8, 8), random_masks(model, density, seed))
    first, second, head, last = (mask.double() for mask in effective.values())
    grouped = torch.block_diag(*second.sum((2, 3)).chunk(2))
    total = last @ head.reshape(5, 6, 9).sum(2) @ grouped @ first.sum((2, 3))
    expected = float(total.sum())
    statistics = graph_statistics(model, (3, 8, 8), effective)
    assert statistics.log_paths == pytest.approx(math.log(expected) if expected else -math.inf)
    dense = 3 * 4 * 9 * (6 // 2) * 4 * 9 * 5 * 2
    assert statistics.scaled_paths == pytest.approx(statistics.log_paths / math.log(dense))


@pytest.mark.parametrize(("depth", "width"), [(1, 1), (3, 7), (400, 30)])
def test_numbers_of_paths_beyond_the_range_of_doubles(depth, width):
    model = mlp([width] * (depth + 1))
    statistics = graph_statistics(model, (width,))
    assert statistics.log_paths == pytest.approx((depth + 1) * math.log(width), rel=1e-13)
    assert statistics.participation_width == pytest.approx(width)
    assert statistics.scaled_paths == 1 if width > 1 else math.isnan(statistics.scaled_paths)
    assert statistics.scaled_nodes == 1


def test_a_path_that_is_outnumbered_beyond_the_range_of_doubles_is_not_lost():
    """The input is read by a deep branch, by which 10^590 paths arrive, and directly by one unit of the head."""

    class Branches(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.deep = mlp([30] * 400)
            self.head, self.last = MaskedLinear(60, 2), MaskedLinear(2, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.last(self.head(torch.cat([self.deep(x), x], 1)))

    model = Branches()
    head = torch.zeros(2, 60, dtype=torch.bool)
    head[0, :30], head[1, 40] = True, True
    masks = Masks({**Masks.of(model), "head.weight": head, "last.weight": torch.eye(2).bool()})
    graph = channel_graph(model, (30,))
    counts = PathCounts.of(graph, graph.edges(masks))
    through = counts.through[graph.record.layers[-1].units]
    assert through[:1].log_sum() == pytest.approx(400 * math.log(30))
    assert through[1:].log_sum() == 0
    assert statistics_of(model, (30,), masks).effective_nodes == 30 * 400 + 4


@pytest.mark.parametrize(
    ("masks", "widths"),
    [
        ([[[1, 1], [1, 1], [1, 1]], [[0, 1, 0], [0, 1, 0]]], [1, 2]),
        ([[[1, 1], [0, 0], [1, 0]], [[1, 0, 1]] * 2], [9 / 5, 2]),
        ([[[1, 0], [0, 1], [0, 0]], [[1, 0, 0], [0, 1, 0]]], [2, 2]),
        ([[[1, 0], [0, 1], [0, 0]], [[1, 1, 0], [0, 1, 0]]], [9 / 5, 9 / 5]),
        ([[[1, 1], [0, 0], [0, 0]], [[0, 1, 1], [0, 1, 1]]], [0, 0]),
    ],
)
def test_participation_widths(masks, widths):
    """A bottleneck has 1, n equal disjoint paths have n; paths of 2 to 1 have 9/5; without a path, it is 0."""
    model = mlp([2, 3, 2])
    named = Masks({name: torch.tensor(mask).bool() for name, mask in zip(prunable(model), masks, strict=True)})
    statistics = statistics_of(model, (2,), named)
    assert list(statistics.participation_widths.values()) == pytest.approx(widths)
    assert statistics.participation_width == pytest.approx(min(widths))


@pytest.mark.parametrize("count", [1, 2, 7])
def test_equal_disjoint_paths_have_their_number_as_width(count):
    model = mlp([count] * 4)
    masks = Masks({name: torch.eye(count).bool() for name in prunable(model)})
    statistics = statistics_of(model, (count,), masks)
    assert statistics.participation_width == pytest.approx(count)
    assert (statistics.structural_rank, statistics.min_width) == (count, count)
    assert statistics.log_paths == pytest.approx(math.log(count))


def test_a_collapsed_network_has_no_paths():
    model = build("lenet300100")
    model.fc2.weight_mask.fill_(False)
    statistics = graph_statistics(model, (1, 28, 28))
    assert (statistics.structural_rank, statistics.min_width, statistics.effective_nodes) == (0, 0, 0)
    assert (statistics.effective_parameters, statistics.node_strength, statistics.node_path_balance) == (0, 0, 0)
    assert statistics.participation_width == 0
    assert statistics.log_paths == statistics.scaled_paths == -math.inf


def test_a_dense_network():
    statistics = graph_statistics(build("lenet300100"), (1, 28, 28))
    assert statistics.log_paths == pytest.approx(math.log(784 * 300 * 100 * 10))
    assert (statistics.structural_rank, statistics.min_width, statistics.effective_nodes) == (10, 10, 1194)
    assert (statistics.scaled_paths, statistics.scaled_nodes, statistics.node_path_balance) == (1, 1, 1)
    assert statistics.cuts == {"fc1.weight": 300, "fc2.weight": 100, "fc3.weight": 10}


def test_layers_that_are_bypassed_or_gates_do_not_count_for_the_participation_width():
    model, shape = make("gate")
    widths = graph_statistics(model, shape).participation_widths
    assert widths["squeeze.weight"] == widths["excite.weight"] == 0
    assert graph_statistics(model, shape).participation_width == pytest.approx(2)


@settings(max_examples=30, deadline=None)
@given(model=networks(), density=densities, seed=seeds)
def test_statistics_do_not_change_when_the_masks_are_effective(model, density, seed):
    masks = random_masks(model, density, seed)
    masks.install(model)
    before = graph_statistics(model, SHAPE)
    Masks(effective_masks(model, SHAPE, masks)).install(model)
    assert graph_statistics(model, SHAPE) == before or math.isnan(before.scaled_paths)
    assert before.structural_rank >= (before.effective_nodes > 0)
    assert (before.log_paths > -math.inf) == (before.effective_nodes > 0) == (before.participation_width > 0)


@pytest.mark.parametrize("name", NETWORKS)
def test_measuring_leaves_a_model_as_it_was(name):
    model, shape = make(name)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    graph_statistics(model, shape)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


@given(st.lists(st.integers(0, 10**6), min_size=1, max_size=8), st.integers(-3000, 3000))
def test_big_numbers_are_exact(values, exponent):
    big = BigNumbers.of(np.array(values, dtype=float), exponent)
    total = sum(values)
    assert big.log_sum() == pytest.approx(math.log(total) + exponent * math.log(2) if total else -math.inf)
    doubled = (big + big) * BigNumbers.of(np.full(len(values), 3.0))
    assert (doubled.aligned(exponent + 20) * 2**20 == 6 * np.array(values)).all()
    squares = sum(value**2 for value in values)
    assert participation_width(big) == pytest.approx(total**2 / squares if squares else 0)
