"""Masks of the thesis: its structured random ones, and the densities of its compressions."""

from decimal import Decimal

import pytest
import torch

from Layers import prunable
from Models import build
from Pruners import make_pruner
from Pruners.allocation import allocate
from Utils.config.target import Target


@pytest.mark.parametrize(("exponent", "percent"), [
    ("1.7", 1.995), ("1.3", 5.012), ("1", 10), ("0.695", 20.184), ("0.3", 50.119),
])  # fmt: skip
def test_densities_of_its_compressions(exponent, percent):
    assert 100 * float(Target(None, Decimal(exponent)).density) == pytest.approx(percent, abs=5e-4)


@pytest.mark.parametrize("seed", range(3))
def test_structured_random_masks_have_its_rows_and_weights(seed):
    """Rows that are alive, and ranges of weights by layer, in the masks that the thesis analysed."""
    model = build("fc", (1, 28, 28), 10)
    generator = torch.Generator().manual_seed(seed)
    scores = make_pruner("random/structured").score(model, generator=generator, sparsity=0.932)
    masks = allocate(model, scores, 0.932, (1, 28, 28), "direct")
    kept = [masks[name] for name in prunable(model)]
    assert [int(mask.any(1).sum()) for mask in kept] == [7, 31, 31, 31, 31, 10]
    assert masks.kept / masks.total == pytest.approx(0.068, abs=0.001)
    first, *hidden, last = (int(mask.sum()) for mask in kept)
    assert 1980 <= first <= 2200 and all(1280 <= count <= 1440 for count in hidden) and 540 <= last <= 630
