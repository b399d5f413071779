"""SynFlow: sums over paths that are conserved, in networks of any depth; the schedule of its rounds."""

import copy
import math
from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F
import torchvision
from conftest import make_batches
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from Layers import MaskedBatchNorm2d, MaskedConv2d, MaskedLinear, Masks, add_masks, mask_model, prunable
from Models import build
from Pruners import make_pruner
from Pruners.allocation import allocate
from Pruners.criteria.linearised import Linear, linearise, source
from Pruners.criteria.synflow import flow_scores
from Pruners.schedules import rounds
from Utils.connectivity import effective_masks
from Utils.errors import UserError
from Utils.sparsity.measure import measure


def lenet() -> nn.Module:
    return build("lenet300100", generator=torch.Generator().manual_seed(0))


def counts(model: nn.Module, scores: dict, sparsity: str, shape: tuple = (1, 28, 28)) -> list[int]:
    return [int(mask.sum()) for mask in allocate(model, scores, sparsity, shape, "direct").values()]


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
    model = nn.Sequential(nn.Flatten(), MaskedLinear(3, 4, bias=False), nn.ReLU(), MaskedLinear(4, 2, bias=False))
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
        model[0].bias.fill_(-3), norm.bias.fill_(-7), norm.running_mean.fill_(5)
        norm.running_var.copy_(torch.tensor([4.0, 0.25]))
    linearise(model)
    x = torch.arange(16, dtype=torch.float64).reshape(1, 1, 4, 4)
    pooled = F.max_pool2d(x, 2)[0, 0]
    first, second = 0.5 / (4 + 1e-5) ** 0.5, 2 / (0.25 + 1e-5) ** 0.5
    expected = torch.stack([(pooled * 2 + 3) * first + 7, (pooled * 3 + 3) * second + 7])
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
    after: list[int] = []
    original = rounds._mask

    def spy(masks: dict, places: torch.Tensor) -> None:
        original(masks, places)
        after.append(sum(int((~mask).sum()) for mask in masks.values()))

    monkeypatch.setattr(rounds, "_mask", spy)
    make_pruner("synflow").score(lenet(), make_batches((1, 28, 28), 1, 1), sparsity)
    assert len(after) == 100 and {step: after[step - 1] for step in pruned} == pruned


def test_many_steps_keep_every_layer_and_one_step_does_not():
    model, (batch,) = lenet(), make_batches((1, 28, 28), 1, 1)
    scores = make_pruner("synflow").score(model, [batch], "0.99")
    kept = counts(model, scores, "0.99")
    assert sum(kept) == 2662 and all(500 < count < 1500 for count in kept)
    at_once = make_pruner("synflow", iterations=1).score(model, [batch], "0.99")
    assert counts(model, at_once, "0.99")[0] == 0


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


def test_biases_are_sources():
    """With biases, the flow into a unit is that of its weights and its bias; all layers before it share the rest."""
    model = nn.Sequential(nn.Flatten(), MaskedLinear(3, 4), nn.ReLU(), MaskedLinear(4, 2))
    without_masks = copy.deepcopy(model)
    add_masks(model, "bias")
    first, second = model[1].weight.detach().abs().double(), model[3].weight.detach().abs().double()
    bias, last = model[1].bias.detach().abs().double(), model[3].bias.detach().abs().double()
    linearise(model)
    scores = flow_scores(model, (1, 1, 3))
    torch.testing.assert_close(scores["1.bias"], bias * second.sum(0))
    torch.testing.assert_close(scores["3.bias"], last)
    torch.testing.assert_close(scores["3.weight"], second * (first.sum(1) + bias)[None])
    into = scores["1.weight"].sum(1) + scores["1.bias"]
    torch.testing.assert_close(into, scores["3.weight"].sum(0))
    linearise(without_masks)
    for name, score in flow_scores(without_masks, (1, 1, 3)).items():
        assert torch.equal(score, scores[name])


@settings(max_examples=40, deadline=None)
@given(
    channels=st.lists(st.integers(1, 4), min_size=2, max_size=4),
    has_bias=st.booleans(),
    has_norm=st.booleans(),
    seed=st.integers(0, 999),
)
def test_layers_conserve_the_flow_with_the_biases_after_them(channels, has_bias, has_norm, seed):
    """The flow through a layer's weights and through the biases that enter at this layer or later is the whole."""
    torch.manual_seed(seed)
    layers: list[nn.Module] = []
    for before, after in pairwise([2, *channels]):
        layers += [MaskedConv2d(before, after, 3, padding=1, bias=has_bias), nn.ReLU()]
        layers[-1:-1] = [MaskedBatchNorm2d(after)] if has_norm else []
    model = nn.Sequential(*layers, nn.Flatten(), MaskedLinear(channels[-1] * 16, 3, bias=has_bias))
    for module in model.modules():
        if isinstance(module, MaskedBatchNorm2d):
            nn.init.normal_(module.weight), nn.init.normal_(module.bias), module.running_var.uniform_(0.1, 4)
    for kind in ["bias"] * has_bias + ["batchnorm"] * has_norm:
        add_masks(model, kind)
    linearise(model)
    flow = model(torch.ones(1, 2, 4, 4, dtype=torch.float64)).sum().item()
    scores = flow_scores(model, (2, 4, 4))
    after = 0.0
    for name, score in reversed(scores.items()):
        if name.endswith("bias"):
            after += score.sum().item()
        else:
            assert score.sum().item() + after == pytest.approx(flow, rel=1e-12), name
    assert has_bias or has_norm or after == 0


def test_biases_can_let_the_flow_collapse():
    """A bias that outweighs all that comes before it: the rounds prune the layers before it, which hardly matter."""
    model = nn.Sequential(nn.Flatten(), MaskedLinear(9, 6), nn.ReLU(), MaskedLinear(6, 4))
    for bias, is_open in ((0.0, True), (1e6, False)):
        nn.init.constant_(model[1].bias, bias)
        scores = make_pruner("synflow").score(model, make_batches((1, 3, 3), 1, 1), "0.9")
        assert bool(allocate(model, scores, "0.9", (1, 3, 3), "direct")["1.weight"].any()) is is_open


def test_all_layers_add_up_to_their_number_times_the_flow():
    """Euler's theorem for a function that is homogeneous in each of its layers."""
    model = bias_free()
    linearise(model)
    flow = model(torch.ones(1, 2, 6, 6, dtype=torch.float64)).sum().item()
    total = sum(score.sum().item() for score in flow_scores(model, (2, 6, 6)).values())
    assert total == pytest.approx(4 * flow, rel=1e-12)


@pytest.mark.parametrize("make", [pytest.param("vgg19", marks=pytest.mark.slow), "resnet110", "deep"])
def test_deep_networks_have_finite_conserved_scores(make):
    torch.manual_seed(0)
    if make == "vgg19":
        model, shape = mask_model(torchvision.models.vgg19(weights=None, num_classes=10), (3, 64, 64)), (3, 224, 224)
    elif make == "resnet110":
        model, shape = build("lottery/resnet110"), (3, 32, 32)
    else:
        # Sums over paths of 400 layers with 30 units are about 10^430, those with tiny weights 10^-3000.
        layers = [MaskedLinear(30, 30, bias=False) for _ in range(800)]
        for index, layer in enumerate(layers):
            nn.init.uniform_(layer.weight, 0.5, 1.5) if index < 400 else nn.init.uniform_(layer.weight, 0.0, 1e-9)
        model, shape = nn.Sequential(nn.Flatten(), *layers), (30, 1, 1)
    linearise(model)
    scores = flow_scores(model, shape)
    sums = torch.stack([score.sum() for score in scores.values()])
    assert torch.isfinite(sums).all() and all(torch.isfinite(score).all() for score in scores.values())
    if make == "resnet110":
        # Flow goes around each block's kernels, too: layers on every path carry all of it, others a part.
        assert sums[0] > 0 and (sums <= sums[0] * (1 + 1e-9)).all()
        assert sums[-1].item() == pytest.approx(sums[0].item(), rel=1e-9)
    else:
        torch.testing.assert_close(sums, sums[:1].expand_as(sums), rtol=1e-9, atol=0)


def test_rescaled_flow_equals_the_plain_one_up_to_one_power_of_two(monkeypatch):
    """Where plain double precision suffices, rescaling at every layer changes nothing else."""
    from Pruners.criteria import linearised

    model, shape = build("lottery/resnet20"), (3, 32, 32)
    linearise(model)
    plain = flow_scores(model, shape)
    monkeypatch.setattr(linearised, "_RANGE", 1.5)
    scaled = flow_scores(model, shape)
    factor = next(iter(scaled.values())).sum() / next(iter(plain.values())).sum()
    assert factor != 1 and math.log2(factor) == pytest.approx(round(math.log2(factor)), abs=1e-9)
    for name, score in plain.items():
        torch.testing.assert_close(scaled[name], score * factor, rtol=1e-9, atol=0)


def test_linear_mode_leaves_other_tensors_alone():
    with Linear():
        ones = torch.ones(3) * 2 + 1
        flow = source((1, 1, 1), torch.device("cpu")) * 3
    assert ones.tolist() == [3, 3, 3] and flow.item() == 3


@pytest.mark.slow
def test_vgg16_keeps_every_layer_at_a_compression_of_a_million():
    """Golden fact 6: 15 weights for 14 layers; as many weights per layer would be 1,054,404.6 times fewer in all."""
    model = build("lottery/vgg16-bn", (3, 32, 32), 100, generator=torch.Generator().manual_seed(0))
    total = sum(weight.numel() for weight, _ in prunable(model).values())
    assert total / 14 == pytest.approx(1_054_404.6, abs=0.1)
    from decimal import Decimal

    from Utils.config.target import Target

    target = Target(com_exp=Decimal(6))
    scores = make_pruner("synflow").score(model, make_batches((3, 32, 32), 1, 1), target)
    masks = allocate(model, scores, target, (3, 32, 32), "direct")
    assert masks.kept == 15 and all(bool(mask.any()) for mask in masks.values())
    masks.install(model)
    assert measure(model, (3, 32, 32)).totals["collapsed"] is False
