"""Every pruner leaves the model alone and repeats itself; every formula against an independent calculation."""

import copy
import itertools
import math

import numpy as np
import pytest
import settings
import torch
import torch.nn.functional as F
from conftest import make_batches
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from scipy.optimize import brentq
from torch import nn

import Pruners
from Layers import MaskedBatchNorm2d, MaskedConv2d, MaskedLinear, Masks, prunable
from Models import build
from Pruners import make_pruner
from Pruners.allocation import allocate
from Pruners.quotas import igq, uniform
from Pruners.synflow import _weakest, flow_scores, linearise, synflow
from Utils.connectivity import effective_masks
from Utils.errors import UserError
from Utils.target import Target

LENET = (235_200, 30_000, 1_000)


def lenet(seed: int = 0) -> nn.Module:
    return build("lenet300100", generator=torch.Generator().manual_seed(seed))


def direct_counts(model: nn.Module, scores: dict, sparsity: str) -> list[int]:
    shape = (1, 28, 28)
    return [int(mask.sum()) for mask in allocate(model, scores, sparsity, shape, "direct").values()]


def snapshot(model: nn.Module) -> dict:
    state = {name: value.clone() for name, value in model.state_dict().items()}
    gradients = {f"{name}.grad": None if p.grad is None else p.grad.clone() for name, p in model.named_parameters()}
    flags = {f"{name}.training": module.training for name, module in model.named_modules()}
    return state | gradients | flags | {name + ".dtype": value.dtype for name, value in state.items()}


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("name", settings.ALL_PRUNERS)
def test_scoring_leaves_the_model_bit_for_bit(name, training):
    model = build("lenet5").train(training)
    model[0].weight_mask[0] = False
    batches = make_batches((3, 32, 32))
    model(batches[0][0]).sum().backward()
    before, generators = snapshot(model), torch.random.get_rng_state()
    scores = make_pruner(name).score(model, batches, sparsity=0.9)
    after = snapshot(model)
    assert before.keys() == after.keys()
    for key, value in before.items():
        assert torch.equal(value, after[key]) if isinstance(value, torch.Tensor) else value == after[key], key
    assert torch.equal(torch.random.get_rng_state(), generators)
    assert all(
        score.shape == weight.shape
        for (weight, _), score in zip(prunable(model).values(), scores.values(), strict=False)
    )


@pytest.mark.parametrize("name", settings.ALL_PRUNERS)
def test_same_generator_same_scores(name):
    model, batches = lenet(), make_batches((1, 28, 28))
    one, two = (make_pruner(name).score(model, batches, 0.99, torch.Generator().manual_seed(seed)) for seed in (1, 1))
    assert all(torch.equal(one[key], two[key]) for key in one)
    if name.startswith("random"):
        other = make_pruner(name).score(model, batches, 0.99, torch.Generator().manual_seed(2))
        assert not torch.equal(one["fc1.weight"], other["fc1.weight"])


@pytest.mark.parametrize("name", [n for n in settings.ALL_PRUNERS if not n.startswith("synflow")])
def test_masks_are_nested_in_the_target(name):
    model, batches = lenet(), make_batches((1, 28, 28))
    scores = make_pruner(name).score(model, batches)
    for pruning_type in ("direct", "effective"):
        masks = [allocate(model, scores, s, (1, 28, 28), pruning_type) for s in ("0.5", "0.9", "0.99", "0.999")]
        for more, fewer in itertools.pairwise(masks):
            assert (fewer - more).kept == 0 and fewer.kept < more.kept


def test_snip_equals_finite_differences():
    model = nn.Sequential(nn.Flatten(), MaskedLinear(6, 4), nn.Tanh(), MaskedLinear(4, 10)).double()
    model[1].weight_mask[0, 0] = False
    batches = [(x.double(), y) for x, y in make_batches((1, 2, 3), count=2, size=5)]
    batches.append((batches[0][0][:2], batches[0][1][:2]))  # a short batch: every example counts the same
    scores = make_pruner("snip").score(model, batches)
    inputs, labels = (torch.cat(parts) for parts in zip(*batches, strict=True))

    def loss() -> float:
        return F.cross_entropy(model(inputs), labels).item()

    for name, (weight, mask) in prunable(model).items():
        for index in [(0, 0), (1, 2), (3, 3)]:
            # Near the cube root of float64's precision, where rounding and curvature err equally little.
            original, step = weight.data[index].item(), 1e-5
            weight.data[index] = original + step
            above = loss()
            weight.data[index] = original - step
            below = loss()
            weight.data[index] = original
            expected = abs(original * (above - below) / (2 * step)) * bool(mask[index])
            assert scores[name][index].item() == pytest.approx(expected, rel=1e-6, abs=1e-12)


def test_snip_uses_the_statistics_of_the_batch():
    model, batches = lenet().eval(), make_batches((1, 28, 28), count=1)
    trained = copy.deepcopy(model).train()
    F.cross_entropy(trained(batches[0][0]), batches[0][1]).backward()
    expected = (trained[1].weight * trained[1].weight.grad).abs()
    torch.testing.assert_close(make_pruner("snip").score(model, batches)["fc1.weight"], expected.detach())


def test_magnitude_is_the_absolute_value():
    model = lenet()
    for name in ("magnitude", "mag"):
        scores = make_pruner(name).score(model)
        assert all(torch.equal(scores[key], weight.abs()) for key, (weight, _) in prunable(model).items())


def test_criteria_that_need_examples_say_so():
    for name in ("snip", "synflow"):
        with pytest.raises(UserError, match="needs"):
            make_pruner(name).score(lenet())


def test_scores_that_are_not_finite_are_refused():
    batches = [(torch.full((4, 1, 28, 28), torch.nan), torch.zeros(4, dtype=torch.long))]
    with pytest.raises(UserError, match=r"pruner 'snip' failed: scores of 'fc1\.weight' are not finite"):
        make_pruner("snip").score(lenet(), batches)


# SynFlow


def bias_free() -> nn.Module:
    return nn.Sequential(
        MaskedConv2d(2, 4, 3, padding=1, bias=False), nn.ReLU(), nn.AvgPool2d(2), MaskedConv2d(4, 3, 2, bias=False),
        nn.ReLU(), nn.Flatten(), MaskedLinear(12, 8, bias=False), nn.ReLU(), MaskedLinear(8, 5, bias=False),
    )  # fmt: skip


def test_synaptic_flow_is_conserved_in_every_layer():
    model = bias_free()
    model[3].weight_mask[1, 2] = False
    linearise(model)
    scores = flow_scores(model, (2, 6, 6))
    flow = model(torch.ones(1, 2, 6, 6, dtype=torch.float64)).sum().item()
    for score in scores.values():
        assert score.sum().item() == pytest.approx(flow, rel=1e-12)


def test_synaptic_flow_is_the_sum_over_paths():
    model = nn.Sequential(nn.Flatten(), MaskedLinear(3, 4), nn.ReLU(), MaskedLinear(4, 2))
    first, second = model[1].weight.detach().abs().double(), model[3].weight.detach().abs().double()
    linearise(model)
    scores = flow_scores(model, (1, 1, 3))
    torch.testing.assert_close(scores["1.weight"], first * second.sum(0)[:, None])
    torch.testing.assert_close(scores["3.weight"], second * first.sum(1)[None])


def test_linear_copy_neutralises_batch_norm_and_activations():
    model = nn.Sequential(MaskedConv2d(1, 2, 1), MaskedBatchNorm2d(2), nn.Sigmoid(), nn.MaxPool2d(2), nn.Dropout(0.9))
    norm = model[1]
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([-2.0, 3.0]).reshape(2, 1, 1, 1))
        norm.weight.copy_(torch.tensor([-0.5, 2.0]))
        norm.bias.fill_(7), norm.running_mean.fill_(5), norm.running_var.copy_(torch.tensor([4.0, 0.25]))
    linearise(model)
    x = torch.arange(16, dtype=torch.float64).reshape(1, 1, 4, 4)
    pooled = F.max_pool2d(x, 2)[0, 0]
    expected = torch.stack([pooled * 2 * 0.5 / (4 + 1e-5) ** 0.5, pooled * 3 * 2 / (0.25 + 1e-5) ** 0.5])
    torch.testing.assert_close(model(x)[0], expected)


class Functional(nn.Module):
    """Activations called as functions and methods."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = (MaskedLinear(n, m, bias=False) for n, m in ((4, 5), (5, 6), (6, 3)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.softmax(self.c(F.gelu(self.b(torch.tanh(self.a(x.flatten(1))).sigmoid()))), dim=1)


def test_activations_called_as_functions_are_left_out_too():
    model = Functional()
    linearise(model)
    scores = flow_scores(model, (1, 2, 2))
    product = (model.c.weight @ model.b.weight @ model.a.weight).sum().item()
    assert [score.sum().item() for score in scores.values()] == pytest.approx([product] * 3, rel=1e-12)


def test_what_has_no_linear_counterpart_is_named():
    model = nn.Sequential(nn.Flatten(), MaskedLinear(4, 4), nn.LayerNorm(4))
    with pytest.raises(UserError, match=r"synflow cannot make LayerNorm \(2\) linear"):
        make_pruner("synflow").score(model, make_batches((1, 2, 2)))


def test_linear_copy_of_batch_statistics_has_variance_one():
    model = build("lenet300100", batchnorm="batch")
    make_pruner("synflow").score(model, make_batches((1, 28, 28)), 0.9)
    linearise(model)
    out = model[2](torch.ones(1, 300, dtype=torch.float64))
    torch.testing.assert_close(out, torch.full_like(out, 1 / (1 + 1e-3) ** 0.5))


@pytest.mark.parametrize(("sparsity", "pruned"), [
    ("0.9", {1: 6059, 2: 11980, 50: 182020, 99: 238959, 100: 239580}),
    ("0.99", {1: 11980, 2: 23422, 50: 239580, 99: 263412, 100: 263538}),
])  # fmt: skip
def test_schedule_of_synflow(sparsity, pruned, monkeypatch):
    kept_after: list[int] = []
    from Pruners import synflow as module

    original = module._install

    def spy(model: nn.Module, kept: torch.Tensor) -> None:
        kept_after.append(int(kept.sum()))
        original(model, kept)

    monkeypatch.setattr(module, "_install", spy)
    make_pruner("synflow").score(lenet(), make_batches((1, 28, 28), 1, 1), sparsity)
    assert {step: 266_200 - kept_after[step - 1] for step in pruned} == pruned


def test_many_steps_keep_every_layer_and_one_step_does_not():
    model, (batch,) = lenet(), make_batches((1, 28, 28), 1, 1)
    scores = make_pruner("synflow").score(model, [batch], "0.99")
    counts = direct_counts(model, scores, "0.99")
    assert sum(counts) == 2662 and all(500 < count < 1500 for count in counts)
    at_once = synflow(copy.deepcopy(model), [batch], Target.of("0.99"), torch.Generator(), rounds=1)
    assert direct_counts(model, at_once, "0.99")[0] == 0


@pytest.mark.parametrize("sparsity", ["0.9", "0.99"])
def test_synflow_masks_are_almost_wholly_effective(sparsity):
    model = lenet()
    scores = make_pruner("synflow").score(model, make_batches((1, 28, 28), 1, 1), sparsity)
    masks = allocate(model, scores, sparsity, (1, 28, 28), "direct")
    assert 0.98 * masks.kept <= Masks(effective_masks(model, (1, 28, 28), masks)).kept <= masks.kept


def test_synflow_order_of_pruned_weights_is_that_of_its_rounds():
    """What a smaller target would prune first comes first: prefixes of the order are the rounds' own masks."""
    model, batch = bias_free(), make_batches((2, 6, 6), 1, 1)
    total = sum(weight.numel() for weight, _ in prunable(model).values())
    scores = make_pruner("synflow").score(model, batch, "0.9")
    linear = copy.deepcopy(model)
    linearise(linear)
    kept = torch.ones(total, dtype=torch.bool)
    for step in range(1, 101):
        current = torch.cat([s.flatten() for s in flow_scores(linear, (2, 6, 6)).values()]).masked_fill(~kept, -1)
        budget = math.ceil(round(total * 0.1 ** (step / 100), 9))
        order = sorted(range(total), key=lambda i: (current[i].item(), -i))
        kept[order[: total - budget]] = False
        flat = torch.cat([s.flatten() for s in scores.values()])
        assert torch.equal(kept, flat >= flat.sort(descending=True).values[budget - 1]), step
        sizes = [weight.numel() for weight, _ in prunable(linear).values()]
        for (_, mask), part in zip(prunable(linear).values(), kept.split(sizes), strict=True):
            mask.copy_(part.reshape(mask.shape))


@given(st.lists(st.integers(0, 3), min_size=1, max_size=30), st.data())
@hypothesis_settings(deadline=None)
def test_weakest_breaks_ties_by_place(values, data):
    count = data.draw(st.integers(0, len(values)))
    expected = sorted(range(len(values)), key=lambda i: (values[i], -i))[:count]
    assert _weakest(torch.tensor(values, dtype=torch.float64), count).tolist() == expected


# Quotas


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
    model = lenet()
    plain = make_pruner("mag").score(model)
    for name in ("mag/uniform", "mag/erk", "mag/igq"):
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


@pytest.mark.parametrize(
    ("name", "canonical"),
    [("rand", "random"), ("rand/igq", "random/igq"), ("magnitude/global", "magnitude"), ("dense", "dense")],
)
def test_names(name, canonical):
    assert Pruners.canonical_name(name) == canonical
    assert canonical == "dense" or make_pruner(name).name == canonical


@pytest.mark.parametrize(("name", "message"), [
    ("snipp", "did you mean 'snip'"), ("random/igk", "did you mean 'igq'"), ("", "unknown pruner ''"),
    ("snip/igq/erk", "unknown quota"), ("Snip", "did you mean 'snip'"),
])  # fmt: skip
def test_unknown_names(name, message):
    with pytest.raises(UserError, match=message):
        make_pruner(name)


def test_every_pruner_looks_different():
    styles = [Pruners.style(name) for name in Pruners.pruner_names()]
    assert len({label for label, _, _ in styles}) == len(styles)
    assert len({(colour, marker) for _, colour, marker in styles}) == len(styles)
