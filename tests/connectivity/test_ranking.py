"""Ranks of scores: a stable order, and scores and masks that do not fit the network."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from Layers import MaskedLinear, Masks, prunable
from Models import build
from Utils.connectivity.effective import (
    compression_curve,
    ranking,
)
from Utils.sparsity import direct_sparsity, effective_sparsity
from Utils.topk import descending_order


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
