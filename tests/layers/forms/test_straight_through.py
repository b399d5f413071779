"""Gradients of scores, by automatic differentiation of the product of weights and soft masks, in double precision."""

import copy

import pytest
import torch
import torch.nn.functional as F
from networks import NETWORKS
from supermasks import ROUNDINGS, grads, network, supermask, unmasked
from torch import Tensor, nn
from torch.func import functional_call

from Layers import MaskedLinear, prunable
from Layers.forms.rounding import Threshold
from Layers.forms.score_penalties import ScorePenalty
from Layers.forms.supermask import Supermask


def soft(name: str, score: Tensor, mask: Tensor) -> Tensor:
    """What weights are multiplied by, as a function whose gradient a straight-through estimate takes for its own."""
    relaxed = score.clamp(0, 1) if "clamped" in name else score.abs() if "top" in name else score
    return relaxed if "soft" in name else relaxed + (mask.double() - relaxed).detach()


def expected_grads(name: str, form: Supermask, batch: tuple[Tensor, Tensor]) -> dict[str, Tensor]:
    """dL/dscore of the network with W x soft(score) x free in place of each weight W."""
    model, free = unmasked(form.model), form.current_free()
    scores = {entry: score.clone().requires_grad_() for entry, score in form.current_scores().items()}
    values = {
        entry: weight.detach() * soft(name, scores[entry], form.masks()[entry]) * free[entry]
        for entry, (weight, _) in prunable(form.model).items()
    }
    F.cross_entropy(functional_call(model, values, (batch[0],)), batch[1]).backward()
    return {entry: torch.zeros_like(s) if s.grad is None else s.grad for entry, s in scores.items()}


@pytest.mark.parametrize("rule", ROUNDINGS)
@pytest.mark.parametrize(("name", "layout"), [
    (name, layout)
    for name in (*NETWORKS, "lottery/resnet20")
    for layout in ("contiguous", "channels-last")
    if (name, layout) != ("max-pooled", "channels-last")  # it takes a view of contiguous images
])  # fmt: skip
def test_gradient_is_that_of_the_soft_mask(name, rule, layout):
    model, inputs, labels = network(name)
    model.double().train()
    inputs = inputs.double()
    if layout == "channels-last":
        model.to(memory_format=torch.channels_last)
        inputs = inputs.contiguous(memory_format=torch.channels_last)
    form = supermask(model, rule)
    with form.holding(model):
        expected = expected_grads(rule, form, (inputs, labels))
        F.cross_entropy(model(inputs), labels).backward()
        actual, free, scores = grads(form), form.current_free(), form.current_scores()
        for entry in expected:
            torch.testing.assert_close(actual[entry], expected[entry], rtol=1e-9, atol=1e-13)
            assert (actual[entry][~free[entry]] == 0).all()
            if "clamped" in rule:
                assert (actual[entry][(scores[entry] < 0) | (scores[entry] > 1)] == 0).all()
        low = torch.cat([actual[entry][free[entry] & (scores[entry].abs() <= 0.5)] for entry in actual])
        assert low.count_nonzero() > 1, "low scores have gradients unless they are frozen out"


def test_gradient_by_hand():
    layer = MaskedLinear(2, 1, bias=False).double()
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[3.0, -2.0]]))
    form = Supermask({"weight": torch.tensor([[0.5, 0.9]])}, Threshold())
    with form.holding(layer):
        output = layer(torch.tensor([[5.0, 7.0]], dtype=torch.float64))
        assert output.item() == -14, "a score of 1/2 rounds to 0"
        (output**2 / 2).backward()
        # dL/dscore = dL/doutput x input x weight
        assert grads(form)["weight"].tolist() == [[-14 * 5 * 3, -14 * 7 * -2]]


@pytest.mark.parametrize("rule", ROUNDINGS)
@pytest.mark.parametrize("kind", ["none", "l2"])
def test_parts_of_a_batch_sum_to_the_gradient_of_the_batch(rule, kind):
    model, inputs, labels = network("grouped")
    model.double().eval()
    inputs, twin = inputs.double(), copy.deepcopy(model)
    whole, parts = (
        supermask(copied, rule, penalty=None if kind == "none" else ScorePenalty(kind, 0.1)) for copied in (model, twin)
    )
    with whole.holding(model), parts.holding(twin):
        F.cross_entropy(model(inputs), labels).backward()
        for rows in (slice(0, 4), slice(4, 6)):
            share = len(labels[rows]) / len(labels)
            (share * F.cross_entropy(twin(inputs[rows]), labels[rows])).backward()
        whole.after_backward()
        parts.after_backward()
        for entry, gradient in grads(whole).items():
            torch.testing.assert_close(grads(parts)[entry], gradient, rtol=1e-9, atol=1e-13)
            assert gradient.count_nonzero()


@pytest.mark.parametrize("rule", ROUNDINGS)
def test_gradient_follows_the_scores(rule):
    """Whatever a slope depends on has changed since the start: the signs and sizes of scores, and what is frozen."""
    model, inputs, labels = network("residual")
    model.double().eval()
    batch, form = (inputs.double(), labels), supermask(model, rule)
    with form.holding(model):
        free, generator = form.current_free(), torch.Generator().manual_seed(3)
        for score in form.parameters().kernels:
            score.data.copy_(2 * torch.rand(score.shape, generator=generator) - 0.5)
        form.after_step()
        first = {entry: torch.rand(mask.shape, generator=generator) < 0.7 for entry, mask in free.items()}
        for is_frozen in (False, True):
            if is_frozen:
                form.freeze(first)
            expected = expected_grads(rule, form, batch)
            form.model.zero_grad()
            F.cross_entropy(model(batch[0]), labels).backward()
            for entry, gradient in grads(form).items():
                torch.testing.assert_close(gradient, expected[entry], rtol=1e-9, atol=1e-13)
        assert form.current_free() == free & first


@pytest.mark.parametrize("kind", ["l2", "l1"])
def test_penalty_reaches_scores_that_the_loss_does_not(kind):
    """Frozen entries are penalised; so are layers that took no part in the forward pass."""
    model = nn.ModuleDict({"used": MaskedLinear(3, 2), "unused": MaskedLinear(2, 2)})
    prunable(model)["used.weight"][1][0, 0] = False
    form = supermask(model, "threshold", penalty=ScorePenalty(kind, 0.25))
    with form.holding(model):
        model["used"](torch.ones(1, 3)).sum().backward()
        form.after_backward()
        score, gradient = form.current_scores(), grads(form)
        slope = {name: 2 * value if kind == "l2" else value.sign() for name, value in score.items()}
        torch.testing.assert_close(gradient["unused.weight"], 0.25 * slope["unused.weight"])
        torch.testing.assert_close(gradient["used.weight"][0, 0], 0.25 * slope["used.weight"][0, 0])
        loss = prunable(model)["used.weight"][0]
        torch.testing.assert_close(gradient["used.weight"][1], 0.25 * slope["used.weight"][1] + loss[1])


def test_step_of_sgd_by_hand():
    """Weight decay and penalty add 2 x strength x p + decay x p, also where an entry is frozen out."""
    layer = MaskedLinear(3, 1, bias=False)
    prunable(layer)["weight"][1][0, 0] = False
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[4.0, 4.0, -4.0]]))
    form = Supermask({"weight": torch.tensor([[0.8, 0.75, 0.25]])}, Threshold(), ScorePenalty("l2", 0.05))
    with form.holding(layer):
        optimizer = torch.optim.SGD(form.parameters().kernels, lr=0.1, weight_decay=0.02)
        for expected, mask in (
            ([0.8 * 0.988, 0.75 * 0.988 - 0.4, 0.25 * 0.988 + 0.4], [0, 0, 1]),
            ([0.8 * 0.988**2, 0, (0.25 * 0.988 + 0.4) * 0.988 + 0.4], [0, 0, 1]),
        ):
            optimizer.zero_grad()
            layer(torch.ones(1, 3)).sum().backward()
            form.after_backward()
            optimizer.step()
            form.after_step()
            torch.testing.assert_close(form.current_scores()["weight"], torch.tensor([expected]).clamp(0, 1))
            assert form.masks()["weight"].int().tolist() == [mask]
