"""Mistakes of those who call the library: each error names the remedy."""

import pytest
import torch
from torch import Tensor, nn

from Layers import mask_model
from Pruners import make_pruner
from Pruners.allocation import allocate
from Utils.connectivity import compression_curve, effective_masks, effective_scores
from Utils.errors import UserError
from Utils.results import load_summaries
from Utils.sparsity import direct_sparsity, effective_sparsity
from Utils.sparsity.measure import measure

SHAPE = (1, 2, 2)
BATCHES = [(torch.zeros(2, *SHAPE), torch.zeros(2, dtype=torch.int64))]


def plain() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(4, 3), nn.Linear(3, 2))


@pytest.mark.parametrize("call", [
    lambda model: make_pruner("random").score(model), lambda model: make_pruner("snip").score(model, BATCHES),
    lambda model: make_pruner("synflow/erk").score(model, BATCHES), lambda model: allocate(model, {}, 0.5, SHAPE),
    lambda model: allocate(model, {}, 0.5, SHAPE, "direct"), direct_sparsity,
    lambda model: effective_sparsity(model, SHAPE), lambda model: effective_masks(model, SHAPE),
    lambda model: effective_scores(model, {}, SHAPE), lambda model: compression_curve(model, {}, SHAPE),
    lambda model: measure(model, SHAPE),
])  # fmt: skip
def test_a_network_without_masks(call):
    with pytest.raises(ValueError, match=r"Sequential has no prunable parameters; give its layers masks: mask_model"):
        call(plain())


@pytest.mark.parametrize("shape", [(1, 3, 2), (5,), (2, 1, 2, 2)])
def test_an_input_of_another_shape(shape):
    size = "x".join(map(str, shape))
    with pytest.raises(UserError, match=rf"does not run on an input of {size}: MaskedLinear \(1\) of Sequential fails"):
        effective_sparsity(mask_model(plain(), SHAPE), shape)


def test_results_of_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(UserError, match=r"there is no folder .*nowhere; give the folder of --out_path"):
        load_summaries(tmp_path / "nowhere")
    assert load_summaries(tmp_path).empty


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
@pytest.mark.parametrize("is_training", [False, True])
def test_a_masked_network_can_be_traced(is_training):
    model = mask_model(plain(), SHAPE).train(is_training)
    x = torch.randn(3, *SHAPE)
    model[1].weight_mask[0] = False
    expected = model(x)
    traced = torch.jit.trace(model, x)
    assert torch.equal(traced(x), expected)
    model[1].weight_mask[1] = False
    after: Tensor = traced(x)
    assert torch.equal(after, model(x)) and not torch.equal(after, expected), "the trace reads the mask, not a copy"
