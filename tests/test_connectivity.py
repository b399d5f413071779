"""Effective masks and ranks against brute-force path searches, and the examples of the specification."""

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import NETWORKS, make, path_counts, random_masks
from torch import Tensor, nn

from Layers import MaskedBatchNorm2d, MaskedConv2d, MaskedIdentity, MaskedLinear, Masks, add_masks, prunable
from Models import build
from Utils.connectivity.effective import (
    compression_curve,
    dead_units,
    effective_masks,
    effective_scores,
    propagate_masks,
    ranking,
)
from Utils.connectivity.ops.maxmin import INFINITE, product
from Utils.errors import UserError
from Utils.sparsity import direct_sparsity, effective_sparsity
from Utils.sparsity.measure import measure
from Utils.topk import descending_order


def same(left: dict[str, Tensor], right: dict[str, Tensor]) -> bool:
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("density", [0.2, 0.35, 0.5, 0.8])
def test_effective_masks_equal_a_sum_over_paths(name, density):
    model, shape = make(name)
    for seed in range(12):
        masks = random_masks(model, density, seed)
        assert same(effective_masks(model, shape, masks), path_counts(model, masks, shape)), seed


@pytest.mark.parametrize("name", NETWORKS)
def test_effective_ranks_are_right_for_every_threshold(name):
    model, shape = make(name)
    generator = torch.Generator().manual_seed(5)
    scores = {key: torch.rand(weight.shape, generator=generator) for key, (weight, _) in prunable(model).items()}
    ranks, effective = ranking(model, scores), effective_scores(model, scores, shape)
    curve = compression_curve(model, scores, shape)
    total = sum(rank.numel() for rank in ranks.values())
    assert len(curve) == total + 1
    for kept in range(total + 1):
        threshold = total - kept + 1
        masks = Masks({key: rank >= threshold for key, rank in ranks.items()})
        assert masks.kept == kept
        brute = path_counts(model, masks, shape)
        assert same({key: rank >= threshold for key, rank in effective.items()}, brute)
        assert curve[kept] == sum(int(mask.sum()) for mask in brute.values())


def literal_paths(layers: list[nn.Module], masks: dict[str, Tensor], size: tuple[int, int, int]) -> dict[str, set]:
    """Depth-first search over (layer, channel, row, column): the weight entries on any path to the last layer."""
    on_path: dict[str, set] = {name: set() for name in masks}
    names = list(masks)

    def search(depth: int, unit: tuple[int, int, int], height: int, width: int) -> bool:
        if depth == len(layers):
            return True
        layer, mask = layers[depth], masks[names[depth]]
        kernel, stride, padding = layer.kernel_size[0], layer.stride[0], layer.padding[0]
        out_height = (height + 2 * padding - kernel) // stride + 1
        out_width = (width + 2 * padding - kernel) // stride + 1
        reached = False
        for channel, i, j in itertools.product(range(mask.shape[0]), range(out_height), range(out_width)):
            row, column = unit[1] - (i * stride - padding), unit[2] - (j * stride - padding)
            is_tap = 0 <= row < kernel and 0 <= column < kernel and mask[channel, unit[0], row, column]
            if is_tap and search(depth + 1, (channel, i, j), out_height, out_width):
                on_path[names[depth]].add((channel, unit[0], row, column))
                reached = True
        return reached

    for unit in itertools.product(*map(range, size)):
        search(0, unit, size[1], size[2])
    return on_path


@pytest.mark.parametrize("seed", range(6))
def test_effective_masks_equal_a_literal_search(seed):
    layers = [
        MaskedConv2d(1, 2, 3, padding=1, stride=2),
        MaskedConv2d(2, 2, 2, padding=1),
        MaskedConv2d(2, 2, 3),
    ]
    model, shape = nn.Sequential(*layers), (1, 4, 5)
    masks = random_masks(model, 0.3, seed)
    found = literal_paths(layers, dict(masks), shape)
    for name, mask in effective_masks(model, shape, masks).items():
        assert {tuple(index) for index in mask.nonzero().tolist()} == found[name]


def two_corners(second: tuple[int, int]) -> nn.Module:
    model = nn.Sequential(
        MaskedConv2d(1, 1, 3, padding=1), MaskedConv2d(1, 1, 3, padding=1), nn.Flatten(), MaskedLinear(4, 1)
    )
    for layer, (row, column) in zip(model, ((0, 0), second), strict=False):
        layer.weight_mask.fill_(False)
        layer.weight_mask[0, 0, row, column] = True
    return model


def test_zero_padding_is_no_source():
    model = two_corners((0, 0))
    assert not any(mask.any() for mask in effective_masks(model, (1, 2, 2)).values())
    assert all(mask.any() for mask in effective_masks(model, (1, 2, 2), effective_type="graph").values())
    assert propagate_masks(model, (1, 2, 2)).output == 0


def test_opposite_corners_leave_one_dense_weight():
    effective = effective_masks(two_corners((2, 2)), (1, 2, 2))
    assert {name: int(mask.sum()) for name, mask in effective.items()} == {"0.weight": 1, "1.weight": 1, "3.weight": 1}


def test_max_pooling_joins_its_whole_window():
    model = nn.Sequential(MaskedConv2d(1, 1, (1, 3), padding=(0, 1)), nn.MaxPool2d(2), nn.Flatten(), MaskedLinear(1, 1))
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([1.0, 0.0, 0.5]).reshape(1, 1, 1, 3))
    model[0].weight_mask[0, 0, 0, 1] = False
    assert effective_masks(model, (1, 2, 2))["0.weight"].flatten().tolist() == [True, False, True]


@settings(max_examples=40, deadline=None)
@given(name=st.sampled_from(list(NETWORKS)), density=st.floats(0.05, 1), seed=st.integers(0, 10**6))
def test_invariants(name, density, seed):
    model, shape = make(name)
    masks = random_masks(model, density, seed)
    more = masks | random_masks(model, 0.2, seed + 1)
    exact, graph = (Masks(effective_masks(model, shape, masks, kind)) for kind in ("exact", "graph"))
    assert (exact - masks).kept == 0 and (exact - graph).kept == 0 and (graph - masks).kept == 0
    assert Masks(effective_masks(model, shape, exact)) == exact
    assert (exact - Masks(effective_masks(model, shape, more))).kept == 0


def test_dense_networks_need_no_positions():
    model = build("lenet300100")
    for seed in range(3):
        masks = random_masks(model, 0.01, seed)
        assert same(effective_masks(model, (1, 28, 28), masks), effective_masks(model, (1, 28, 28), masks, "graph"))


def test_replacing_masks_by_effective_ones_keeps_the_function():
    model = nn.Sequential(
        MaskedConv2d(2, 4, 3, padding=1, bias=False), nn.ReLU(), MaskedConv2d(4, 4, 3, stride=2, padding=1, bias=False),
        nn.ReLU(), nn.Flatten(), MaskedLinear(16, 3, bias=False),
    ).double()  # fmt: skip
    masks = random_masks(model, 0.2, 3)
    effective = Masks(effective_masks(model, (2, 4, 4), masks))
    x = torch.randn(50, 2, 4, 4, dtype=torch.float64)
    masks.install(model)
    before = model(x)
    effective.install(model)
    assert effective.kept < masks.kept
    torch.testing.assert_close(model(x), before)


def test_biases_scales_and_skips_are_edges_when_prunable():
    model = nn.Sequential(MaskedConv2d(1, 3, 1), MaskedBatchNorm2d(3), MaskedIdentity(3), MaskedConv2d(3, 1, 1))
    for kind in ("bias", "batchnorm", "residual"):
        add_masks(model, kind)
    masks = dict(prunable(model))
    assert sum(mask.numel() for _, mask in masks.values()) == 3 + 3 + 3 + 3 + 3 + 3 + 1
    masks["0.weight"][1][0] = False  # channel 0: no weight in
    masks["1.weight"][1][1] = False  # channel 1: no scale
    masks["2.weight"][1][2] = False  # channel 2: no skip
    effective = effective_masks(model, (1, 2, 2))
    assert not any(bool(mask.any()) for mask in effective.values())
    masks["2.weight"][1][2] = True
    effective = effective_masks(model, (1, 2, 2))
    alone = [False, False, True]
    for name in ("0.weight", "0.bias", "1.weight", "1.bias", "2.weight", "3.weight"):
        assert effective[name].flatten().tolist() == alone, name
    assert effective["3.bias"].tolist() == [True]


def test_plain_layers_carry_everything():
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), MaskedLinear(2, 2), nn.Linear(2, 1))
    effective = effective_masks(model, (1, 3, 3))
    assert list(effective) == ["2.weight"] and effective["2.weight"].all()


def test_a_layer_used_twice_counts_its_best_use():
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.shared, self.head = MaskedLinear(2, 2), MaskedLinear(2, 1)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.shared(self.shared(x.flatten(1))))

    model = Twice()
    model.shared.weight_mask.copy_(torch.tensor([[False, False], [True, False]]))  # unit 1 from input 0 only
    assert not effective_masks(model, (1, 1, 2))["shared.weight"].any()
    model.shared.weight_mask[0, 1] = True  # 0 -> 1 -> 0 and 1 -> 0 -> 1
    assert effective_masks(model, (1, 1, 2))["shared.weight"].sum() == 2


def test_parts_of_a_product_with_a_constant():
    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc, self.scale = MaskedLinear(2, 2), nn.Parameter(torch.zeros(2))
            self.register_buffer("switch", torch.tensor([1.0, 0.0]))

        def forward(self, x: Tensor) -> Tensor:
            return 1 - self.fc(x.flatten(1)) * self.scale * self.switch * 2

    assert effective_masks(Scaled(), (1, 1, 2))["fc.weight"].tolist() == [[True, True], [False, False]]


class Parts(nn.Module):
    """Several tensors at once, sliced, joined again, turned."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = MaskedLinear(2, 6), MaskedLinear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        parts = self.a(x.flatten(1)).chunk(3, 1)[1:]
        return self.b(torch.cat([parts[0], parts[1]], 1).T.relu().mT)


def test_parts_of_what_an_operation_returned():
    effective = effective_masks(Parts(), (1, 1, 2))
    assert effective["a.weight"].tolist() == [[False] * 2] * 2 + [[True] * 2] * 4 and effective["b.weight"].all()


def test_all_parts_joined_again():
    class Whole(Parts):
        def forward(self, x: Tensor) -> Tensor:
            return self.b(torch.cat(self.a(x.flatten(1)).chunk(3, 1), dim=1)[:, 2:])

    try:
        effective = effective_masks(Whole(), (1, 1, 2))
    except UserError as error:
        pytest.skip(f"this PyTorch cannot trace it: {error}")
    assert effective["a.weight"].tolist() == [[False] * 2] * 2 + [[True] * 2] * 4


def test_multiply_adds_of_a_layer_used_twice():
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = MaskedLinear(3, 3), MaskedLinear(3, 2)

        def forward(self, x: Tensor) -> Tensor:
            x = self.a(self.a(x.flatten(1)).relu())
            return self.b(x * torch.sigmoid(x))

    assert measure(Twice(), (1, 1, 3)).totals["macs"] == 9 + 9 + 6


class Unknown(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = MaskedLinear(2, 2)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cumsum(self.fc(x.flatten(1)), 1)


class Several(Unknown):
    def forward(self, x: Tensor) -> Tensor:
        return torch.stack(self.fc(x.flatten(1)).chunk(2, 1))


class Attribute(Unknown):
    def forward(self, x: Tensor) -> Tensor:
        return self.fc(x.flatten(1)).real


class Branching(Unknown):
    def forward(self, x: Tensor) -> Tensor:
        return self.fc(x) if x.sum() > 0 else x


@pytest.mark.parametrize(
    ("model", "named"),
    [
        (Unknown(), "cumsum"),
        (nn.Sequential(nn.Flatten(), MaskedLinear(2, 2), nn.Bilinear(2, 2, 2)), "Bilinear"),
        (nn.Sequential(MaskedConv2d(1, 2, 1), nn.LocalResponseNorm(2)), "LocalResponseNorm"),
        (Branching(), "torch.fx"),
        (Several(), "stack"),
        (Attribute(), "real"),
    ],
)
def test_an_unknown_operation_is_named(model, named):
    with pytest.raises(UserError, match=named):
        effective_masks(model, (1, 1, 2))


def test_unknown_effective_type():
    with pytest.raises(UserError, match="exact, graph"):
        effective_masks(build("lenet300100"), (1, 28, 28), effective_type="exakt")


@settings(max_examples=60, deadline=None)
@given(
    shape=st.tuples(st.integers(1, 3), st.integers(1, 40), st.integers(1, 90), st.integers(1, 40)),
    seed=st.integers(0, 1000),
)
def test_product_equals_its_definition(shape, seed):
    groups, rows, inner, columns = shape
    generator = torch.Generator().manual_seed(seed)
    # Beyond 2^24, where float32 would round.
    left = torch.randint(2**24, 2**31 - 1, (groups, rows, inner), generator=generator, dtype=torch.int32)
    right = torch.randint(2**24, 2**31 - 1, (groups, inner, columns), generator=generator, dtype=torch.int32)
    expected = torch.minimum(left[:, :, :, None], right[:, None]).amax(2)
    assert torch.equal(product(left, right), expected)


@settings(max_examples=100, deadline=None)
@given(
    shape=st.tuples(st.integers(1, 3), st.integers(1, 12), st.integers(1, 60), st.integers(1, 12)),
    seed=st.integers(0, 1000),
    density=st.sampled_from([0.0, 0.02, 0.3, 1.0]),
    entries=st.sampled_from([(1,), (INFINITE,), (1, INFINITE), (1, 2, INFINITE)]),
)
def test_product_of_masks_equals_its_definition(shape, seed, density, entries):
    """What is kept, what no threshold removes, and both beside a rank that is neither."""
    groups, rows, inner, columns = shape
    generator = torch.Generator().manual_seed(seed)

    def mask(*size: int) -> Tensor:
        kinds = torch.tensor(entries, dtype=torch.int32)[torch.randint(len(entries), size, generator=generator)]
        return kinds * (torch.rand(size, generator=generator) < density)

    left, right = mask(groups, rows, inner), mask(groups, inner, columns)
    expected = torch.minimum(left[:, :, :, None], right[:, None]).amax(2)
    found = product(left, right)
    assert found.dtype == torch.int32 and torch.equal(found, expected)


def test_product_in_blocks():
    generator = torch.Generator().manual_seed(0)
    for rows, inner, columns in ((700, 1000, 3), (3, 5, 200_000), (40, 900, 400), (600, 10, 700)):
        left = torch.randint(0, 1000, (2, rows, inner), generator=generator, dtype=torch.int32)
        right = torch.randint(0, 1000, (2, inner, columns), generator=generator, dtype=torch.int32)
        pick = torch.randint(0, columns, (20,), generator=generator)
        expected = torch.minimum(left[:, :, :, None], right[:, None, :, pick]).amax(2)
        assert torch.equal(product(left, right)[:, :, pick], expected)


def test_dead_units_are_hidden_units_without_a_weight():
    model = nn.Sequential(nn.Flatten(), MaskedLinear(3, 4), nn.ReLU(), MaskedLinear(4, 2))
    model[1].weight_mask[0] = False
    model[3].weight_mask[:, 3] = False
    model[3].weight_mask[1] = False
    found = propagate_masks(model, (1, 1, 3))
    assert found.output_layers == {"3"}
    dead = dead_units({name: ranks > 0 for name, ranks in found.effective.items()}, found.output_layers)
    assert sum(dead.values()) == 2


def test_ties_go_to_the_entry_that_comes_first():
    model = build("lenet5")
    scores = {name: torch.zeros_like(weight) for name, (weight, _) in prunable(model).items()}
    flat = torch.cat([ranks.flatten() for ranks in ranking(model, scores).values()])
    assert torch.equal(flat, torch.arange(len(flat), 0, -1, dtype=torch.int32))


@settings(max_examples=200, deadline=None)
@given(
    values=st.lists(st.sampled_from([-1e30, -2.0, -0.0, 0.0, 1e-300, 0.5, 3.0]), max_size=80),
    kind=st.sampled_from([torch.float32, torch.float64]),
)
def test_order_is_stable(values, kind):
    scores = torch.tensor(values, dtype=kind)
    expected = sorted(range(len(values)), key=lambda place: (-scores[place].item(), place))
    assert descending_order(scores).tolist() == expected


def test_order_of_many_scores_equals_a_stable_sort():
    for scores in (torch.randn(50_000), torch.randint(0, 900, (50_000,)).double(), torch.zeros(70), -torch.rand(3000)):
        assert torch.equal(descending_order(scores), torch.sort(scores, descending=True, stable=True).indices)


def test_what_is_pruned_already_has_rank_zero():
    model = nn.Sequential(nn.Flatten(), MaskedLinear(2, 2), MaskedLinear(2, 1))
    model[1].weight_mask[0, 0] = False
    scores = {name: torch.ones_like(weight) for name, (weight, _) in prunable(model).items()}
    assert ranking(model, scores)["1.weight"].tolist() == [[0, 5], [4, 3]]
    assert compression_curve(model, scores, (1, 1, 2)).tolist()[-1] == 5


@pytest.mark.parametrize("broken", ["name", "shape", "nan"])
def test_scores_that_do_not_fit(broken):
    model = build("lenet5")
    scores = {name: torch.zeros_like(weight) for name, (weight, _) in prunable(model).items()}
    if broken == "name":
        scores["other"] = scores.pop("conv1.weight")
    elif broken == "shape":
        scores["conv1.weight"] = torch.zeros(3)
    else:
        scores["conv1.weight"][0, 0, 0, 0] = torch.nan
    with pytest.raises(ValueError, match=r"conv1\.weight"):
        compression_curve(model, scores, (3, 32, 32))


def test_masks_that_do_not_fit():
    model = build("lenet5")
    masks = dict(Masks.of(model))
    with pytest.raises(ValueError, match=r"differ in conv1\.weight"):
        direct_sparsity(model, {name: mask for name, mask in masks.items() if name != "conv1.weight"})
    with pytest.raises(ValueError, match=r"must be bool of shape \(10, 84\), not torch\.float32"):
        effective_sparsity(model, (3, 32, 32), masks | {"fc3.weight": torch.rand(10, 84)})
    assert direct_sparsity(model, Masks(masks)) == effective_sparsity(model, (3, 32, 32), masks) == 0
    assert direct_sparsity(model, ~Masks(masks)) == 1


def test_normalisation_over_channels_joins_them():
    """What a dead channel puts out is minus the mean of the others: it carries them."""
    for norm, expected in ((nn.GroupNorm(2, 4), [True, True, False, False]), (nn.LayerNorm((4, 1, 1)), [True] * 4)):
        model = nn.Sequential(MaskedConv2d(1, 4, 1), norm, MaskedConv2d(4, 3, 1))
        prunable(model)["0.weight"][1][1:] = False
        effective = effective_masks(model, (1, 1, 1))
        assert effective["2.weight"].any(0).flatten().tolist() == expected
        assert effective["0.weight"].flatten().tolist() == [True, False, False, False]
