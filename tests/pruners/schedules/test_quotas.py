"""Quotas: shares of the layers against the published tables and against equations that SciPy solves."""

import itertools

import numpy as np
import pytest
import settings
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from scipy.optimize import brentq
from scored import network, pruner_scores
from torch import nn

from Layers import MaskedConv2d, MaskedLinear, prunable
from Models import build
from Pruners import make_pruner
from Pruners.allocation import allocate
from Pruners.schedules.quotas import igq, per_unit, transfer, uniform
from Utils.config.target import Target
from Utils.errors import UserError

LENET = (235_200, 30_000, 1_000)


def lenet() -> nn.Module:
    return build("lenet300100", generator=torch.Generator().manual_seed(0))


def direct_counts(model: nn.Module, scores: dict, sparsity: str, shape: tuple = (1, 28, 28)) -> list[int]:
    return [int(mask.sum()) for mask in allocate(model, scores, sparsity, shape, "direct").values()]


def densities(quota, sparsity: str, sizes=LENET) -> list[int]:
    scores = {str(i): torch.rand(n, dtype=torch.float64) for i, n in enumerate(sizes)}
    masks = {name: torch.ones_like(score, dtype=torch.bool) for name, score in scores.items()}
    flat = torch.cat(list(quota(scores, masks).values()))
    order = flat.sort(descending=True, stable=True).indices[: Target.of(sparsity).kept(sum(sizes))]
    bounds = np.cumsum([0, *sizes])
    return [int(((order >= low) & (order < high)).sum()) for low, high in itertools.pairwise(bounds)]


@pytest.mark.parametrize(("sparsity", "force", "quota"), [
    ("0.9", 6.172086e-5, (0.935553495, 0.649322837, 0.058132847)),
    ("0.99", 9.159807e-4, (0.995379754, 0.964886929, 0.478074090)),
    ("0.999", 1.0942294e-2, (0.999611594, 0.996962968, 0.916263991)),
])  # fmt: skip
def test_igq_equals_the_published_table(sparsity, force, quota):
    budget = (1 - float(sparsity)) * sum(LENET)
    found = brentq(lambda f: sum(n / (f * n + 1) for n in LENET) - budget, 1e-12, 1e3, xtol=1e-18, rtol=1e-14)
    assert found == pytest.approx(force, rel=1e-6)
    exact = [n / (found * n + 1) for n in LENET]
    assert [1 - e / n for e, n in zip(exact, LENET, strict=True)] == pytest.approx(quota, abs=1e-8)
    for count, real in zip(densities(igq, sparsity), exact, strict=True):
        assert abs(count - real) <= (len(LENET) + 1) / 2


@given(sizes=st.lists(st.integers(1, 400), min_size=1, max_size=5), digits=st.integers(0, 999))
@hypothesis_settings(max_examples=60, deadline=None)
def test_igq_solves_its_equation(sizes, digits):
    budget = Target.of(f"0.{digits:03d}").kept(sum(sizes))
    counts = densities(igq, f"0.{digits:03d}", tuple(sizes))
    assert sum(counts) == budget
    if budget < sum(sizes):
        force = brentq(lambda f: sum(n / (f * n + 1) for n in sizes) - budget, 0, 1e6, xtol=1e-15)
        for count, n in zip(counts, sizes, strict=True):
            assert abs(count - n / (force * n + 1)) <= (len(sizes) + 1) / 2
    ordered = sorted(zip(sizes, counts, strict=True))
    for (small, few), (large, many) in itertools.pairwise(ordered):
        assert few / small >= many / large - (len(sizes) + 1) / 2 * (1 / small + 1 / large)
        assert small != large or abs(few - many) <= 1


def test_igq_keeps_the_same_number_everywhere_at_huge_compression():
    counts = densities(igq, "0.999")
    assert all(abs(c - e) <= 2 for c, e in zip(counts, (91.35, 91.11, 83.74), strict=True))


@pytest.mark.parametrize(("sparsity", "expected"), [
    ("0.9", (18714.34, 6905.66, 1000)), ("0.99", (1810.29, 668.01, 183.70)), ("0.999", (181.03, 66.80, 18.37)),
])  # fmt: skip
def test_erk_is_solved_again_where_a_layer_would_be_more_than_dense(sparsity, expected):
    model = lenet()
    scores = make_pruner("random/erk").score(model)
    counts = direct_counts(model, scores, sparsity)
    assert sum(counts) == Target.of(sparsity).kept(266_200)
    assert all(abs(count - real) <= 2 for count, real in zip(counts, expected, strict=True))


def test_erk_counts_all_dimensions_of_a_kernel():
    model = build("lenet5")
    shapes = [tuple(weight.shape) for weight, _ in prunable(model).values()]
    raw = np.array([sum(shape) for shape in shapes], dtype=float)  # n r
    budget = 61_770 * 0.05
    expected = raw * budget / raw.sum()
    masks = allocate(model, make_pruner("random/erk").score(model), "0.95", (3, 32, 32), "direct")
    assert [int(m.sum()) for m in masks.values()] == pytest.approx(expected, abs=3)
    assert masks.kept == 61_770 - int(61_770 * 0.95)


def test_uniform_keeps_the_same_share_everywhere():
    assert densities(uniform, "0.99") == [2352, 300, 10]
    assert densities(uniform, "0.9") == [23520, 3000, 100]


def test_quotas_keep_the_order_inside_a_layer():
    model = network("lenet5")
    plain = make_pruner("mag").score(model)
    for name in ("mag/uniform", "mag/uniform_plus", "mag/erk", "mag/igq"):
        scores = make_pruner(name).score(model)
        for key, score in scores.items():
            order = plain[key].flatten().sort(descending=True, stable=True).indices
            assert (score.flatten()[order].diff() < 0).all()


def test_what_is_pruned_already_takes_no_place_in_a_quota():
    model = lenet()
    model[1].weight_mask[:150] = False
    masks = allocate(model, make_pruner("mag/uniform").score(model), "0.9", (1, 28, 28), "direct")
    assert [int(mask.sum()) for mask in masks.values()] == [23520, 3000, 100]
    assert not masks["fc1.weight"][:150].any()


# Uniform+


def test_uniform_plus_equals_the_worked_example():
    counts = direct_counts(network("lenet5"), pruner_scores("random/uniform_plus", "lenet5", "0.9"), "0.9", (3, 32, 32))
    sizes = settings.PRUNABLE["lenet5"][1]
    expected = [0, *[0.908085] * 3, 0.8]
    assert sum(counts) == 6_177
    for count, size, sparsity in zip(counts, sizes, expected, strict=True):
        assert abs(count - size * (1 - sparsity)) <= 3


@pytest.mark.slow
@pytest.mark.parametrize(("sparsity", "middle"), [("0.5", None), ("0.9", 0.900141), ("0.99", 0.990182)])
def test_uniform_plus_solves_its_equations_on_vgg16(sparsity, middle):
    """The first layer dense, the others alike, the last a fifth at least: the largest common density that fits."""
    model = build("vgg16", generator=torch.Generator().manual_seed(0))
    sizes = np.array([weight.numel() for weight, _ in prunable(model).values()], dtype=float)
    counts = direct_counts(model, make_pruner("random/uniform_plus").score(model), sparsity, (3, 32, 32))
    budget = Target.of(sparsity).kept(14_715_584)

    def kept(density: float) -> float:
        return sizes[0] + density * sizes[1:-1].sum() + max(density, 0.2) * sizes[-1]

    density = brentq(lambda value: kept(value) - budget, 0, 1)
    expected = [sizes[0], *density * sizes[1:-1], max(density, 0.2) * sizes[-1]]
    assert sum(counts) == budget and counts == pytest.approx(expected, abs=8)
    assert middle is None or 1 - density == pytest.approx(middle, abs=1e-6)


@pytest.mark.parametrize(("architecture", "highest"), [
    ("lenet5", 0.989995), ("vgg16", 0.999813), ("vgg19", 0.999404), ("resnet18", 0.998028),
])  # fmt: skip
def test_uniform_plus_says_what_is_the_highest_sparsity(architecture, highest):
    classes = {"lenet5": 10, "vgg16": 10, "vgg19": 100, "resnet18": 200}[architecture]
    shape = (3, 64, 64) if architecture == "resnet18" else (3, 32, 32)
    model = build(architecture, shape, classes)
    scores = make_pruner("random/uniform_plus").score(model)
    total = sum(weight.numel() for weight, _ in prunable(model).values())
    fixed = sum(scores.fixed.values())
    assert 1 - fixed / total == pytest.approx(highest, abs=1e-6)
    with pytest.raises(UserError, match=rf"so the highest direct sparsity is {str(highest)[:6]}") as error:
        allocate(model, scores, "0.9999", shape, "direct")
    limit = str(error.value).split("sparsity is ")[1].split(";")[0]
    assert allocate(model, scores, limit, shape, "direct").kept >= fixed
    assert max(scores.fixed, key=lambda name: scores.fixed[name]) in str(error.value)


class Skip(nn.Module):
    """What the first and the last layer keep is effective without the one in the middle."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.middle, self.head = MaskedConv2d(1, 4, 1), MaskedConv2d(4, 4, 1), MaskedLinear(4, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        return self.head((x + self.middle(x)).mean((2, 3)))


def test_uniform_plus_limits_effective_sparsity_too():
    model, shape = Skip(), (1, 2, 2)
    scores = make_pruner("mag/uniform_plus").score(model)
    assert scores.fixed == {"stem.weight": 4, "head.weight": 4}
    with pytest.raises(UserError, match=r"8 of 40 weights may not be pruned, 4 of them in stem.weight, so the highest "
                                        r"effective sparsity is 0\.") as error:  # fmt: skip
        allocate(model, scores, "0.97", shape, "effective")
    limit = str(error.value).split("sparsity is ")[1].split(";")[0]
    masks = allocate(model, scores, limit, shape, "effective")
    assert masks.kept >= 8 and masks["stem.weight"].all() and int(masks["head.weight"].sum()) >= 4


def test_uniform_plus_needs_a_convolution_and_three_layers():
    with pytest.raises(UserError, match="the first of which is no convolution: use uniform"):
        make_pruner("random/uniform_plus").score(lenet())
    small = nn.Sequential(MaskedConv2d(1, 2, 3), nn.Flatten(), MaskedLinear(8, 2))
    with pytest.raises(UserError, match="this network has 2 layers"):
        make_pruner("random/uniform_plus").score(small)


# Per unit


@given(st.integers(1, 6), st.integers(1, 7), st.integers(0, 99), st.integers(0, 1000))
@hypothesis_settings(max_examples=60, deadline=None)
def test_every_unit_loses_the_same_share(units, inputs, percent, seed):
    generator = torch.Generator().manual_seed(seed)
    scores = {"w": torch.randint(0, 4, (units, inputs), generator=generator).double()}
    masks = {"w": torch.ones(units, inputs, dtype=torch.bool)}
    new = per_unit(scores, masks)["w"].flatten()
    budget = Target.of(f"0.{percent:02d}").kept(units * inputs)
    kept = torch.zeros(units * inputs, dtype=torch.bool)
    kept[new.sort(descending=True, stable=True).indices[:budget]] = True
    rows = kept.reshape(units, inputs)
    assert int(rows.sum(1).max() - rows.sum(1).min()) <= 1
    for row, values in zip(rows, scores["w"], strict=True):
        assert not row.any() or row.all() or values[row].min() >= values[~row].max()


def test_filters_of_a_convolution_are_units():
    """At 98% the filters of the union-mask program keep 1 of 27, 6 of 288, 12 of 576 and 93 of 4608 inputs."""
    fan_in = (27, 288, 576, 4608)
    scores = {str(size): torch.rand(10, size // 9, 3, 3) for size in fan_in}
    masks = {name: torch.ones_like(score, dtype=torch.bool) for name, score in scores.items()}
    new = per_unit(scores, masks)
    total = sum(score.numel() for score in scores.values())
    threshold = torch.cat([score.flatten() for score in new.values()]).sort(descending=True).values[total // 50 - 1]
    for size, kept in zip(fan_in, (1, 6, 12, 93), strict=True):
        counts = (new[str(size)] >= threshold).flatten(1).sum(1)
        assert (counts - kept).abs().max() <= 1 and int(counts.max() - counts.min()) <= 1


# Transfer: the density-matched random control of every criterion


@pytest.mark.parametrize("architecture", settings.NETWORKS)
@pytest.mark.parametrize("source", [name for name in settings.CRITERIA if name != "random"])
def test_random_at_the_densities_of_another_criterion(source, architecture):
    model, shape = network(architecture), settings.NETWORKS[architecture]
    own = pruner_scores(source, architecture, "0.95")
    control = pruner_scores(f"random/{source}", architecture, "0.95")
    for sparsity in ("0.5", "0.95", "0.99"):
        expected, found = (allocate(model, scores, sparsity, shape, "direct") for scores in (own, control))
        assert [int(m.sum()) for m in found.values()] == [int(m.sum()) for m in expected.values()]
        assert found != expected


@given(st.integers(0, 1000))
@hypothesis_settings(max_examples=50, deadline=None)
def test_transfer_is_a_permutation_in_the_other_order(seed):
    generator = torch.Generator().manual_seed(seed)
    own, source = ({"w": torch.randint(0, 5, (4, 6), generator=generator).double()} for _ in range(2))
    mask = {"w": torch.rand(4, 6, generator=generator) < 0.8}
    found = transfer(own, mask, source)["w"]
    assert len(found.unique()) == 24
    order = own["w"].masked_fill(~mask["w"], -1).flatten().sort(descending=True, stable=True).indices
    kept = found.flatten()[order][: int(mask["w"].sum())]
    assert (kept.diff() < 0).all(), "the own order, whatever ties the source has"


# What is counted beside kernels


def test_small_parameters_take_part_in_quotas():
    model = nn.Sequential(MaskedConv2d(1, 4, 3), nn.Flatten(), MaskedLinear(16, 8), MaskedLinear(8, 2))
    for layer in (model[0], model[2], model[3]):
        layer.add_mask("bias")
    for quota in ("uniform", "uniform_plus", "erk", "igq", "per_unit", "snip"):
        batches = [(torch.randn(4, 1, 4, 4), torch.tensor([0, 1, 0, 1]))]
        scores = make_pruner(f"random/{quota}").score(model, batches)
        assert allocate(model, scores, "0.25", (1, 4, 4), "direct").kept == 194 - 48
