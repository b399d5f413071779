"""Every registered architecture, very sparse: which weights lie on a path, against a path count in float64."""

import pytest
import torch
from networks import clamped_path_counts

from Layers import Masks, prunable
from Models import build
from Models.registry import ARCHITECTURES, native_shape
from Pruners import make_pruner
from Pruners.allocation import allocate
from Utils.connectivity import effective_masks


@pytest.mark.slow
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_connectivity_agrees_with_a_path_count(name):
    shape, _ = native_shape(name)
    model = build(name, generator=torch.Generator().manual_seed(0))
    scores = make_pruner("random/erk").score(model, generator=torch.Generator().manual_seed(1))
    for sparsity in (0.99, 0.999):
        masks = allocate(model, scores, sparsity, shape, "direct")
        exact, graph = (effective_masks(model, shape, masks, kind) for kind in ("exact", "graph"))
        counted = clamped_path_counts(model, masks, shape)
        assert exact.keys() == graph.keys() == counted.keys() == prunable(model).keys()
        for key in masks:
            assert torch.equal(exact[key], counted[key]), key
            assert not (exact[key] & ~graph[key]).any() and not (graph[key] & ~masks[key]).any()
        assert 0 <= Masks(exact).kept <= Masks(graph).kept <= masks.kept
