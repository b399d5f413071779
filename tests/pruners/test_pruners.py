"""Every pruner leaves the model alone, repeats itself, nests its masks, and goes by one name and one look."""

import itertools

import pytest
import settings
import torch
from conftest import make_batches
from scored import criterion_scores, network, pruner_scores
from torch import nn

from Layers import prunable
from Models import build
from Pruners import make_pruner, registry
from Pruners.allocation import allocate
from Utils.errors import UserError


def snapshot(model: nn.Module) -> dict:
    state = {name: value.clone() for name, value in model.state_dict().items()}
    gradients = {f"{name}.grad": None if p.grad is None else p.grad.clone() for name, p in model.named_parameters()}
    flags = {f"{name}.training": module.training for name, module in model.named_modules()}
    wants = {f"{name}.requires_grad": p.requires_grad for name, p in model.named_parameters()}
    return state | gradients | flags | wants | {name + ".dtype": value.dtype for name, value in state.items()}


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("name", [*settings.CRITERIA, "random/snip", "snip/igq"])
def test_scoring_leaves_the_model_bit_for_bit(name, training):
    model = build("lenet5").train(training)
    model[0].weight_mask[0] = False
    batches = make_batches((3, 32, 32))
    model(batches[0][0]).sum().backward()
    before, generators = snapshot(model), torch.random.get_rng_state()
    scores = make_pruner(name, train_mode=training).score(model, batches, sparsity=0.9)
    after = snapshot(model)
    assert before.keys() == after.keys()
    for key, value in before.items():
        assert torch.equal(value, after[key]) if isinstance(value, torch.Tensor) else value == after[key], key
    assert torch.equal(torch.random.get_rng_state(), generators)
    assert {key: score.shape for key, score in scores.items()} == {
        key: weight.shape for key, (weight, _) in prunable(model).items()
    }


@pytest.mark.parametrize("name", settings.CRITERIA)
def test_same_generator_same_scores(name):
    again = make_pruner(name).score(
        network("lenet5"), make_batches((3, 32, 32)), "0.95", torch.Generator().manual_seed(2)
    )
    one = criterion_scores(name, "lenet5", "0.95")
    assert all(torch.equal(one[key], again[key]) for key in one)
    if name == "random":
        other = make_pruner(name).score(network("lenet5"), generator=torch.Generator().manual_seed(3))
        assert not torch.equal(one["fc1.weight"], other["fc1.weight"])


@pytest.mark.parametrize("name", ["random/uniform_plus", "snip/igq", "magnitude/per_unit", "random/snip", "lamp/erk"])
def test_a_pruner_is_its_criterion_and_its_quota(name):
    found = make_pruner(name).score(
        network("lenet5"), make_batches((3, 32, 32)), "0.95", torch.Generator().manual_seed(2)
    )
    expected = pruner_scores(name, "lenet5", "0.95")
    assert found.fixed == expected.fixed and all(torch.equal(found[key], expected[key]) for key in expected)


@pytest.mark.parametrize("architecture", settings.NETWORKS)
@pytest.mark.parametrize("name", settings.ALL_PRUNERS)
def test_masks_are_nested_in_the_target_and_counts_exact(name, architecture):
    if not settings.is_possible(name, architecture):
        pytest.skip("needs a convolution")
    model, shape = network(architecture), settings.NETWORKS[architecture]
    scores = pruner_scores(name, architecture, "0.95")
    total = settings.PRUNABLE[architecture][0]
    masks = [allocate(model, scores, s, shape, "direct") for s in ("0.5", "0.9", "0.98")]
    assert [mask.kept for mask in masks] == [total - int(total * s) for s in (0.5, 0.9, 0.98)]
    for more, fewer in itertools.pairwise(masks):
        assert (fewer - more).kept == 0


def test_criteria_that_need_examples_say_so():
    for name, entry in registry.CRITERIA.items():
        if entry.needs_batches or name == "synflow":
            with pytest.raises(UserError, match="needs"):
                make_pruner(name).score(build("lenet5"))


def test_examples_may_come_from_a_generator():
    batches = make_batches((3, 32, 32))
    for name in ("grasp", "fisher"):
        once = make_pruner(name).score(network("lenet5"), iter(batches))
        often = make_pruner(name).score(network("lenet5"), batches)
        assert all(torch.equal(once[key], often[key]) for key in often)


@pytest.mark.parametrize("name", ["snip", "snip_iterative", "force", "grasp", "taylor", "fisher"])
def test_scores_that_are_not_finite_are_refused(name):
    batches = [(torch.full((4, 1, 28, 28), torch.nan), torch.zeros(4, dtype=torch.long))]
    with pytest.raises(UserError, match=rf"pruner '{name}' failed: scores.* are not finite"):
        make_pruner(name).score(build("lenet300100"), batches)


def test_trained_weights_are_scored_by_criteria_of_trained_weights_only():
    model, trained, batches = network("lenet5"), build("lenet5"), make_batches((3, 32, 32))
    shares = make_pruner("magnitude/snip").score(model, batches, trained=trained)
    magnitude, snip = make_pruner("magnitude").score(trained), make_pruner("snip").score(model, batches)
    for sparsity in ("0.5", "0.9"):
        both = [allocate(model, scores, sparsity, (3, 32, 32), "direct") for scores in (shares, snip)]
        assert [int(m.sum()) for m in both[0].values()] == [int(m.sum()) for m in both[1].values()]
    for key, score in shares.items():
        order = magnitude[key].flatten().sort(descending=True, stable=True).indices
        assert (score.flatten()[order].diff() < 0).all()


def test_initial_weights_are_scored_even_beside_trained_ones():
    model, trained = network("lenet5"), build("lenet5")
    shares = make_pruner("mag/lamp").score(model, trained=trained)
    for key, (weight, _) in prunable(model).items():
        order = weight.detach().abs().flatten().sort(descending=True, stable=True).indices
        assert (shares[key].flatten()[order].diff() < 0).all()


def test_scoring_works_without_gradients_and_in_any_precision():
    batches = make_batches((3, 32, 32))
    with torch.no_grad():
        assert make_pruner("snip").score(network("lenet5"), batches)
    for dtype in (torch.bfloat16, torch.float16, torch.float64):
        model = network("lenet5").to(dtype)
        for name in ("magnitude", "magnitude/igq", "magnitude/random", "synflow"):
            scores = make_pruner(name, iterations=2).score(model, batches)
            assert allocate(model, scores, "0.9", (3, 32, 32), "effective").kept >= 6_177


def test_weights_that_are_not_finite_are_refused():
    for value in (torch.nan, torch.inf):
        model = build("lenet5")
        model[0].weight.data[0, 0, 0, 0] = value
        for name in ("magnitude", "lamp", "l2"):
            with pytest.raises(UserError, match="not finite"):
                make_pruner(name).score(model)


def test_frozen_and_masked_weights_stay_out():
    model = network("lenet5")
    model[0].weight_mask[:, 0] = False
    model[0].weight.requires_grad_(False)
    for name in settings.CRITERIA:
        scores = make_pruner(name).score(model, make_batches((3, 32, 32)), "0.9")
        masks = allocate(model, scores, "0.9", (3, 32, 32), "direct")
        assert masks.kept == 6_177 and not masks["conv1.weight"][:, 0].any(), name


@pytest.mark.parametrize(("name", "canonical"), [
    ("rand", "random"), ("rand/igq", "random/igq"), ("magnitude/global", "magnitude"), ("dense", "dense"),
    ("snip/iterative", "snip_iterative"), ("snip/snip", "snip"), ("random/rand", "random"), ("lamp", "lamp"),
    ("rand/synflow", "random/synflow"),
])  # fmt: skip
def test_names(name, canonical):
    assert registry.canonical_name(name) == canonical
    assert canonical == "dense" or make_pruner(name).name == canonical


@pytest.mark.parametrize(("name", "message"), [
    ("snipp", "did you mean 'snip'"), ("random/igk", "did you mean 'igq'"), ("", "unknown pruner ''"),
    ("snip/igq/erk", "unknown quota"), ("Snip", "did you mean 'snip'"), ("random/snp", "did you mean 'snip'"),
])  # fmt: skip
def test_unknown_names(name, message):
    with pytest.raises(UserError, match=message):
        make_pruner(name)


def test_unknown_schedules_and_rounds():
    with pytest.raises(UserError, match="did you mean 'linear'"):
        make_pruner("snip", schedule="linaer")
    with pytest.raises(UserError, match="at least one round, not 0"):
        make_pruner("snip", iterations=0)


def test_every_pruner_looks_different():
    styles = [registry.style(name) for name in registry.pruner_names()]
    assert len({label for label, _, _ in styles}) == len(styles)
    assert len({(colour, marker) for _, colour, marker in styles}) == len(styles)
    assert registry.style("random/snip")[0] == "SNIP (random)" and registry.style("snip/igq")[0] == "IGQ (SNIP)"


def test_every_combination_has_a_name():
    names = registry.pruner_names()
    count = len(registry.CRITERIA)
    assert len(names) == len(set(names)) == 1 + count * len(registry.QUOTAS) + count * (count - 1)
    assert all(registry.canonical_name(name) == name for name in names)
