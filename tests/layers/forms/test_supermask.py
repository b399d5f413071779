"""Supermask: the mask of a layer is the one that its forward pass applies, and nothing is left of the form after it."""

import copy
import itertools
import pickle

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import NETWORKS
from supermasks import (
    ROUNDINGS,
    grads,
    network,
    outputs_checked,
    plain,
    same,
    snapshot,
    step,
    supermask,
    unmasked,
)
from torch import nn

from Layers import MaskedLinear, Masks, prunable, unmask
from Layers.forms.rounding import Threshold
from Layers.forms.score_penalties import ScorePenalty
from Layers.forms.supermask import Supermask
from Layers.masked import Masked

HARD = tuple(rule for rule in ROUNDINGS if "soft" not in rule)


def drawn_free(form: Supermask, seed: int) -> Masks:
    """About four of five entries."""
    generator = torch.Generator().manual_seed(seed)
    return Masks({name: torch.rand(mask.shape, generator=generator) < 0.8 for name, mask in form.masks().items()})


@given(
    name=st.sampled_from(sorted(NETWORKS)), rule=st.sampled_from(HARD), seed=st.integers(0, 99),
    density=st.sampled_from((0.3, 0.8, 1.0)),
    actions=st.lists(st.sampled_from(("step", "freeze", "load", "reload", "re-enter")), max_size=5),
)  # fmt: skip
@settings(max_examples=60, deadline=None)
def test_forward_pass_applies_the_mask_at_any_time(name, rule, seed, density, actions):
    model, *batch = network(name, seed, density)
    form = supermask(model, rule, seed, ScorePenalty("l1-l2", 1e-3))
    weights, base = snapshot({name: weight for name, (weight, _) in prunable(model).items()}), Masks.of(model)
    form.enter(model)
    with outputs_checked(form, batch[0]):
        saved = snapshot(form.state())
    for number, action in enumerate(actions):
        free = form.current_free()
        with outputs_checked(form, batch[0]):
            if action == "step":
                step(form, batch)
            if action == "freeze":
                form.freeze(drawn_free(form, number))
                assert form.current_free() == free & drawn_free(form, number)
            if action == "load":
                form.load(saved)
            if action == "reload":
                saved = snapshot(form.state())
            if action == "re-enter":
                scores = snapshot(form.current_scores())
                form.leave()
                assert same(scores, form.scores) and form.free == free
                form.enter(model)
                assert same(scores, form.current_scores())
        assert action == "load" or (form.current_free() - free).kept == 0, "frozen entries stay frozen"
        assert (form.masks() - base).kept == 0, "what was pruned before the search stays pruned"
        if rule == "threshold":
            assert all(score.min() >= 0 and score.max() <= 1 for score in form.current_scores().values())
        assert same(weights, {name: weight for name, (weight, _) in prunable(model).items()})
    form.leave()


@pytest.mark.parametrize("rule", HARD)
def test_steps_change_masks(rule):
    model, *batch = network("residual")
    form = supermask(model, rule)
    with form.holding(model):
        masks = [form.masks()]
        for _ in range(3):
            step(form, batch)
            masks.append(form.masks())
    assert masks[0] != masks[1]
    assert any((first - second).kept for first, second in itertools.pairwise(masks))
    assert any((second - first).kept for first, second in itertools.pairwise(masks)), "entries return"


@pytest.mark.parametrize("is_interrupted", [False, True])
@pytest.mark.parametrize("rule", ROUNDINGS)
@pytest.mark.parametrize("name", ["residual", "grouped", "gate"])
def test_nothing_is_left_of_the_form(name, rule, is_interrupted):
    model, *batch = network(name)
    next(model.parameters()).requires_grad_(False)
    requires_grad = {name: parameter.requires_grad for name, parameter in model.named_parameters()}
    before, form = snapshot(model.state_dict()), supermask(model, rule)
    with pytest.raises(KeyboardInterrupt) if is_interrupted else torch.enable_grad(), form.holding(model):
        assert [name for name, p in model.named_parameters() if p.requires_grad] == [f"{n}_score" for n in form.entries]
        for _ in range(3):
            step(form, batch)
        masks, scores, free = form.masks(), snapshot(form.current_scores()), form.current_free()
        if is_interrupted:
            raise KeyboardInterrupt
    after = model.state_dict()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    masked = {f"{name}_mask" for name in form.scores}
    assert list(before) == list(after)
    assert Masks.of(model) == masks
    assert same(form.scores, scores) and form.free == free
    assert changed & masked
    norm = {name for name in before if "running" in name or "tracked" in name}
    assert changed - masked == norm, "weights keep their bits, and normalisation its running statistics"
    assert bool(norm) == (name == "residual")
    assert {name: p.requires_grad for name, p in model.named_parameters()} == requires_grad
    assert all(parameter.grad is None for parameter in model.parameters())
    assert all(not module._products for module in model.modules() if isinstance(module, Masked))
    with torch.no_grad():
        outputs = model.eval()(batch[0])
        assert torch.equal(outputs, plain(model)(batch[0]))
        torch.testing.assert_close(unmask(copy.deepcopy(model))(batch[0]), outputs)


@pytest.mark.parametrize("clone", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_copy_within_the_form_is_a_network_of_its_own(clone):
    model, *batch = network("residual")
    form = supermask(model, "threshold")
    with form.holding(model), torch.no_grad():
        step_free = form.masks()
        copied, outputs = clone(model), model.eval()(batch[0])
        with torch.enable_grad():
            for _ in range(3):
                step(form, batch)
        assert form.masks() != step_free == Masks.of(copied)
        assert torch.equal(copied.eval()(batch[0]), outputs)
        assert not torch.equal(model.eval()(batch[0]), outputs)
        drawn_free(form, 0).install(copied)
        assert torch.equal(copied(batch[0]), plain(copied)(batch[0])), "a copy follows edits of its masks"


@pytest.mark.parametrize("rule", ROUNDINGS)
def test_state_continues_in_another_form_and_network(rule):
    model, *batch = network("residual")
    other = network("residual", seed=1)[0]
    first, second = supermask(model, rule, 0), supermask(other, rule, 5)
    with first.holding(model), second.holding(other):
        step(first, batch)
        first.freeze(drawn_free(first, 3))
        step(first, batch)
        state = snapshot(first.state())
        for form in (first, second):
            step(form, batch)
            form.freeze(drawn_free(form, 4))
            form.load(state)
            assert same(state, form.state())
        for _ in range(3):
            assert same(first.state(), second.state())
            assert torch.equal(model.eval()(batch[0]), other.eval()(batch[0]))
            assert first.current_free() == second.current_free()
            step(first, batch)
            step(second, batch)
        assert not same(state, first.state())


@pytest.mark.parametrize("rule", ["soft", "soft-clamped"])
def test_soft_mask_is_rounded_within_a_context(rule):
    model, *batch = network("residual")
    form = supermask(model, rule)
    with form.holding(model), torch.no_grad():
        model.eval()
        expected = unmasked(model)
        for name, (weight, _) in prunable(expected).items():
            weight.mul_(form.current_scores()[name].clamp(0, 1) * form.current_free()[name])
        outputs, rounded = expected(batch[0]), form.masks()
        torch.testing.assert_close(model(batch[0]), outputs)
        with pytest.raises(KeyboardInterrupt), form.rounded():
            rounded = form.masks()
            for name, mask in rounded.items():
                assert torch.equal(mask, form.current_free()[name] & (form.current_scores()[name] > 0.5))
            assert torch.equal(model(batch[0]), plain(model)(batch[0]))
            assert not torch.allclose(model(batch[0]), outputs)
            raise KeyboardInterrupt
        torch.testing.assert_close(model(batch[0]), outputs)
        assert (form.masks() - rounded).kept > 0


def test_optimizer_sees_the_scores_alone():
    model, *batch = network("grouped")
    form = supermask(model, "threshold", penalty=ScorePenalty("l2", 2.0))
    with form.holding(model):
        kernels, others = form.parameters()
        assert [tuple(score.shape) for score in kernels] == [tuple(mask.shape) for mask in form.masks().values()]
        assert others == []
        F.cross_entropy(model(batch[0]), batch[1]).backward()
        expected = 2 * sum(float(score.detach().double().square().sum()) for score in kernels)
        assert form.penalty_value() == pytest.approx(expected, rel=1e-6)
        assert all(gradient.isfinite().all() for gradient in grads(form).values())
    assert supermask(model, "threshold").score_penalty is None


@pytest.mark.parametrize(("scores", "message"), [
    ({"weight": torch.ones(2, 1)}, r"'weight' has a score of shape \(2, 1\), a mask of \(2, 3\)"),
    ({}, r"'weight' has a score of shape none, a mask of \(2, 3\)"),
    ({"weight": torch.ones(2, 3), "x": torch.ones(4)}, r"'x' has a score of shape \(4,\), a mask of none"),
])  # fmt: skip
def test_scores_of_another_network_are_refused(scores, message):
    layer = MaskedLinear(3, 2)
    before, form = snapshot(layer.state_dict()), Supermask(scores, Threshold())
    with pytest.raises(ValueError, match=message), form.holding(layer):
        pass
    assert same(before, layer.state_dict())
    assert all(parameter.requires_grad for parameter in layer.parameters())
    with pytest.raises(ValueError, match="has no prunable parameters"):
        form.enter(nn.Linear(3, 2))
