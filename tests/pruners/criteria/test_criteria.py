"""The formula of every criterion against an independent calculation."""

import copy
import weakref

import pytest
import torch
import torch.nn.functional as F
from conftest import double_batches, make_batches
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from torch import nn

from Layers import MaskedConv2d, MaskedLinear, prunable
from Models import build
from Pruners import make_pruner
from Pruners.allocation import allocate
from Pruners.criteria.gradients import loss_gradients, squared_gradients
from Utils import example_gradients
from Utils.example_gradients import fix_statistics


def lenet(seed: int = 0) -> nn.Module:
    return build("lenet300100", generator=torch.Generator().manual_seed(seed))


def tanh_network() -> nn.Module:
    model = nn.Sequential(nn.Flatten(), MaskedLinear(6, 4), nn.Tanh(), MaskedLinear(4, 10)).double()
    model[1].weight_mask[0, 0] = False
    return model


# Magnitude, LAMP, norms


def test_magnitude_is_the_absolute_value():
    model = lenet()
    for name in ("magnitude", "mag"):
        scores = make_pruner(name).score(model)
        assert all(torch.equal(scores[key], weight.abs()) for key, (weight, _) in prunable(model).items())


def test_lamp_of_the_published_example():
    layer = nn.Sequential(MaskedLinear(4, 1, bias=False))
    layer[0].weight.data = torch.tensor([[3.0, -1.0, 2.0, 0.5]])
    (scores,) = make_pruner("lamp").score(layer).values()
    # u = 9, 1, 4, 0.25
    torch.testing.assert_close(scores[0], torch.tensor([1.0, 1 / 14, 4 / 13, 0.25 / 14.25], dtype=torch.float64))
    assert scores[0].tolist() == pytest.approx([1.0, 0.0714286, 0.3076923, 0.0175439], abs=1e-7)


@given(st.lists(st.lists(st.integers(-3, 3), min_size=1, max_size=12), min_size=1, max_size=4), st.integers(0, 99))
@hypothesis_settings(max_examples=80, deadline=None)
def test_lamp_is_its_definition_and_empties_no_layer(layers, percent):
    model = nn.Sequential(*(MaskedLinear(len(values), 1, bias=False) for values in layers))
    for layer, values in zip(model, layers, strict=True):
        layer.weight.data = torch.tensor([values], dtype=torch.float32)
    scores = make_pruner("lamp").score(model)
    for found, values in zip(scores.values(), layers, strict=True):
        for index, value in enumerate(values):
            # Among equal ones the first is the larger: ties go to the entry that comes first.
            rest = [v * v for i, v in enumerate(values) if (v * v, -i) >= (value * value, -index)]
            expected = value * value / sum(rest) if value else 0
            assert found[0, index].item() == pytest.approx(expected, rel=1e-12)
    total = sum(map(len, layers))
    kept = total - int(total * percent / 100)
    if kept >= len(layers) and all(any(values) for values in layers):
        masks = allocate(model, scores, f"0.{percent:02d}", (len(layers[0]),), "direct")
        assert all(bool(mask.any()) for mask in masks.values())


def test_lamp_of_zeros_and_of_tiny_weights():
    model = nn.Sequential(MaskedLinear(3, 1, bias=False), MaskedLinear(3, 1, bias=False))
    model[0].weight.data.zero_()
    model[1].weight.data = torch.tensor([[1e-30, 2e-30, 0.0]])
    scores = make_pruner("lamp").score(model)
    assert scores["0.weight"].tolist() == [[0, 0, 0]]
    assert scores["1.weight"][0].tolist() == pytest.approx([0.2, 1, 0], rel=1e-6)


def test_norms_are_those_of_units():
    model = nn.Sequential(MaskedConv2d(2, 3, 2), nn.Flatten(), MaskedLinear(3, 2))
    model[0].weight_mask[1, 0, 0, 0] = False
    for order, name in ((1, "l1"), (2, "l2")):
        scores = make_pruner(name).score(model)
        for key, (weight, mask) in prunable(model).items():
            for unit, values in enumerate(weight.detach().double() * mask):
                norm = sum(abs(v) ** order for v in values.flatten().tolist()) ** (1 / order)
                assert torch.allclose(scores[key][unit], torch.full_like(scores[key][unit], norm), rtol=1e-12)


# SNIP, FORCE


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


def test_evaluation_mode_scores_with_running_statistics():
    model, batches = lenet().train(), make_batches((1, 28, 28), count=1)
    tested = copy.deepcopy(model).eval()
    F.cross_entropy(tested(batches[0][0]), batches[0][1]).backward()
    expected = (tested[1].weight * tested[1].weight.grad).abs()
    found = make_pruner("snip", train_mode=False).score(model, batches)["fc1.weight"]
    torch.testing.assert_close(found, expected.detach())
    assert not torch.allclose(found, make_pruner("snip").score(model, batches)["fc1.weight"])


def test_force_scores_what_is_pruned_as_if_it_came_back():
    """|w dL/dv| at v = w m, by finite differences of v."""
    model, batches = tanh_network(), double_batches((1, 2, 3))
    from Pruners.criteria.snip import force

    scores = force(model.train(), batches, None)
    assert model[1].weight_mask[0, 0].item() is False
    inputs, labels = (torch.cat(parts) for parts in zip(*batches, strict=True))
    plain = nn.Sequential(nn.Flatten(), nn.Linear(6, 4), nn.Tanh(), nn.Linear(4, 10)).double()
    plain.load_state_dict({k: v for k, v in model.state_dict().items() if not k.endswith("_mask")})
    plain[1].weight.data *= model[1].weight_mask
    for index in [(0, 0), (1, 2)]:
        values, step = plain[1].weight.data, 1e-5
        original = values[index].item()
        loss = []
        for shift in (step, -step):
            values[index] = original + shift
            loss.append(F.cross_entropy(plain(inputs), labels).item())
        values[index] = original
        expected = abs(model[1].weight[index].item() * (loss[0] - loss[1]) / (2 * step))
        assert scores["1.weight"][index].item() == pytest.approx(expected, rel=1e-6) and expected > 0


# GraSP


def test_grasp_is_the_change_of_the_gradients_norm():
    """w (H g) is half the derivative of |g|^2 along w, entry by entry: by finite differences of the weights."""
    model, batches = tanh_network(), double_batches((1, 2, 3))
    scores = make_pruner("grasp").score(model, batches)

    def squared_norm() -> float:
        gradients = loss_gradients(copy.deepcopy(model), batches, temperature=200)
        return sum(gradient.square().sum().item() for gradient in gradients.values())

    for name, (weight, mask) in prunable(model).items():
        for index in [(0, 0), (1, 2), (3, 3)]:
            original, step = weight.data[index].item(), 1e-5
            weight.data[index] = original + step
            above = squared_norm()
            weight.data[index] = original - step
            below = squared_norm()
            weight.data[index] = original
            expected = original * (above - below) / (4 * step) * bool(mask[index])
            assert scores[name][index].item() == pytest.approx(expected, rel=1e-4, abs=1e-15)


def test_grasp_prunes_what_would_raise_the_gradients_norm():
    """The sign of the paper: of two weights the one goes first without which the norm of the gradient is larger."""
    model, batches = tanh_network(), double_batches((1, 2, 3))
    scores = make_pruner("grasp").score(model, batches)
    flat = torch.cat([score.flatten() for score in scores.values()])

    def norm_without(place: int) -> float:
        pruned = copy.deepcopy(model)
        weights = [weight for weight, _ in prunable(pruned).values()]
        weight, index = (weights[0], place) if place < 24 else (weights[1], place - 24)
        weight.data.view(-1)[index] *= 0.9  # a tenth of the way: the criterion is a first-order estimate
        return sum(g.square().sum().item() for g in loss_gradients(pruned, batches, 200).values())

    order = flat.argsort()
    assert norm_without(int(order[0])) > norm_without(int(order[-1]))


class Saved:
    """What a graph holds; it lives as long as the graph does."""

    def __init__(self, tensor: torch.Tensor) -> None:
        self.tensor = tensor


@pytest.mark.parametrize("name", ["grasp", "snip", "taylor"])
def test_one_graph_at_a_time_takes_memory(name):
    alive: weakref.WeakSet = weakref.WeakSet()
    at_start: list[int] = []

    def pack(tensor: torch.Tensor) -> Saved:
        saved = Saved(tensor)
        alive.add(saved)
        return saved

    class Watched(list):
        def __iter__(self):
            for batch in super().__iter__():
                at_start.append(len(alive))
                yield batch

    batches = Watched(make_batches((3, 32, 32), count=4))
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda saved: saved.tensor):
        make_pruner(name).score(build("lenet5"), batches)
    assert len(at_start) >= 4 and max(at_start) == 0


def test_both_passes_of_grasp_drop_out_the_same_units():
    model = nn.Sequential(nn.Flatten(), MaskedLinear(64, 20), nn.Dropout(0.5), MaskedLinear(20, 10))
    seen: list[torch.Tensor] = []
    batches = make_batches((1, 8, 8), count=2)
    hooked = copy.deepcopy(model)
    hooked[2].register_forward_hook(lambda module, inputs, output: seen.append(output == 0))
    make_pruner("grasp").score(hooked, batches)
    assert len(seen) == 4 and torch.equal(seen[0], seen[2]) and torch.equal(seen[1], seen[3])
    assert not torch.equal(seen[0], seen[1])


# Taylor, Fisher


def test_taylor_is_the_mean_of_squares_over_batches():
    model, batches = tanh_network(), double_batches((1, 2, 3))
    scores = make_pruner("taylor").score(model, batches)
    total, expected = 0, torch.zeros(4, 6, dtype=torch.float64)
    for inputs, labels in batches:
        model.zero_grad()
        F.cross_entropy(model(inputs), labels).backward()
        expected += (model[1].weight * model[1].weight.grad).detach() ** 2 * len(labels)
        total += len(labels)
    torch.testing.assert_close(scores["1.weight"], expected / total)


@pytest.mark.parametrize("training", [True, False])
def test_fisher_is_the_mean_of_squared_gradients_of_single_examples(training):
    model, batches = build("lenet5").double(), double_batches((3, 32, 32), size=6)
    fixed = copy.deepcopy(model).train(training)
    fix_statistics(fixed, batches)
    scores = make_pruner("fisher", train_mode=training).score(model, batches)
    sums = {name: torch.zeros_like(weight) for name, (weight, _) in prunable(model).items()}
    examples = 0
    for inputs, labels in batches:
        for image, label in zip(inputs, labels, strict=True):
            fixed.zero_grad()
            F.cross_entropy(fixed(image[None]), label[None]).backward()
            for name, (weight, _) in prunable(fixed).items():
                sums[name] += weight.grad**2
            examples += 1
    for name, (weight, _) in prunable(model).items():
        torch.testing.assert_close(scores[name], weight.detach() ** 2 * sums[name] / examples / 2)


def test_fixed_statistics_are_those_of_the_examples():
    model = build("lenet300100", batchnorm="batch")
    images = make_batches((1, 28, 28), count=1, size=64)
    fix_statistics(model, images)
    before = model[1](images[0][0].flatten(1))
    torch.testing.assert_close(model[2].running_mean, before.mean(0))
    torch.testing.assert_close(model[2].running_var, before.var(0))
    assert not model.training and not model[2].training
    evaluated = lenet().eval()
    mean = evaluated[2].running_mean.clone()
    fix_statistics(evaluated, images)
    assert torch.equal(evaluated[2].running_mean, mean)


def test_fisher_in_small_parts_is_the_same(monkeypatch):
    model, batches = lenet(), make_batches((1, 28, 28))
    whole = squared_gradients(copy.deepcopy(model), batches)
    monkeypatch.setattr(example_gradients, "AT_ONCE", 3 * 266_200)
    parts = squared_gradients(copy.deepcopy(model), batches)
    for name, value in whole.items():
        torch.testing.assert_close(parts[name], value)
