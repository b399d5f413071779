"""Random networks of convolutions, pools, sums, gates, chunks and slices: paths, and SynFlow's conservation."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import path_counts, random_masks, without_biases
from random_networks import SHAPE, networks

from Layers import prunable
from Pruners.criteria.linearised import linearise
from Pruners.criteria.synflow import flow_scores
from Utils.connectivity import effective_masks

LEVEL = 1e-9
"""Inputs small enough that no gate saturates behind several layers."""

some_masks = {"density": st.sampled_from([0.15, 0.3, 0.5, 0.8]), "seed": st.integers(0, 10**6)}


@settings(max_examples=200, deadline=None)
@given(model=networks(), **some_masks)
def test_effective_masks_equal_a_sum_over_paths(model, density, seed):
    masks = random_masks(model, density, seed)
    effective, expected = effective_masks(model, SHAPE, masks), path_counts(model, masks, SHAPE, LEVEL)
    assert effective.keys() == expected.keys()
    for name, mask in expected.items():
        assert torch.equal(effective[name], mask), name


@settings(max_examples=60, deadline=None)
@given(model=networks(), **some_masks)
def test_synflow_is_conserved(model, density, seed):
    """All flow goes through the first and through the last layer, and through each step without another branch.

    Biases would be further sources.
    """
    random_masks(without_biases(model), density, seed).install(model)
    for weight, _ in prunable(model).values():
        weight.requires_grad_()
    linearise(model)
    totals = {name: score.sum().item() for name, score in flow_scores(model, SHAPE).items()}
    (flow,) = (total for name, total in totals.items() if name.startswith(f"{len(model) - 1}."))
    single = [name for name in totals if name.count(".") == 1]
    assert [totals[name] for name in single] == pytest.approx([flow] * len(single), rel=1e-9)
    for total in totals.values():
        assert 0 <= total <= flow * (1 + 1e-9)
