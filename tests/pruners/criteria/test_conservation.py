"""Conservation laws of saliency (golden facts 7 to 10)."""

import copy
import math

import pytest
import torch
import torch.nn.functional as F
from conftest import double_batches
from torch import nn

from Layers import MaskedConv2d, MaskedLinear, add_masks, prunable
from Models import build
from Pruners import make_pruner
from Pruners.criteria.gradients import loss_gradients
from Pruners.criteria.linearised import linearise
from Pruners.criteria.synflow import flow_scores


def relu_network() -> nn.Module:
    torch.manual_seed(3)
    model = nn.Sequential(
        MaskedConv2d(1, 6, 3), nn.ReLU(), MaskedConv2d(6, 8, 3), nn.ReLU(), nn.Flatten(), MaskedLinear(8 * 16, 12),
        nn.ReLU(), MaskedLinear(12, 10),
    ).double()  # fmt: skip
    add_masks(model, "bias")
    return model


def in_and_out(scores: dict) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """For each hidden unit, the sums over what comes in (with its bias) and over what goes out."""
    pairs = [("0", "2"), ("2", "5"), ("5", "7")]
    found = []
    for before, after in pairs:
        into = scores[f"{before}.weight"].flatten(1).sum(1) + scores[f"{before}.bias"]
        weight = scores[f"{after}.weight"]
        out = weight.reshape(weight.shape[0], len(into), -1).sum((0, 2))
        found.append((into, out))
    return found


@pytest.mark.parametrize("loss", ["cross-entropy", "squares", "cubes"])
def test_signed_saliency_is_conserved_at_every_hidden_unit(loss):
    model, batches = relu_network(), double_batches((1, 8, 8))
    inputs, labels = batches[0]
    outputs = model(inputs)
    value = {
        "cross-entropy": F.cross_entropy(outputs, labels),
        "squares": outputs.square().sum(),
        "cubes": outputs.pow(3).sum(),
    }[loss]
    value.backward()
    scores = {name: (weight * weight.grad).detach() for name, (weight, _) in prunable(model).items()}
    for into, out in in_and_out(scores):
        torch.testing.assert_close(into, out, rtol=1e-10, atol=1e-12)


def test_who_conserves():
    model, batches = relu_network(), double_batches((1, 8, 8), count=4, size=16)
    linear = copy.deepcopy(model)
    linearise(linear)

    def differs(scores: dict) -> float:
        return max(((a - b).abs().max() / b.abs().max()).item() for a, b in in_and_out(scores))

    assert differs(flow_scores(linear, (1, 8, 8))) < 1e-12
    for name in ("snip", "mag"):
        assert differs(make_pruner(name).score(model, batches)) > 0.1


def test_grasp_is_conserved_up_to_the_gradients_themselves():
    """Scaling a unit's inputs by a and its outputs by 1/a leaves the network as it is, but not the gradient's norm.

    So what comes in less what goes out is |g out|^2 - |g in|^2, exactly.
    """
    model, batches = relu_network(), double_batches((1, 8, 8), count=4, size=16)
    scores = make_pruner("grasp").score(model, batches)
    squares = {name: g.square() for name, g in loss_gradients(model, batches, temperature=200).items()}
    for (into, out), (into_squares, out_squares) in zip(in_and_out(scores), in_and_out(squares), strict=True):
        torch.testing.assert_close(into - out, out_squares - into_squares, rtol=1e-8, atol=1e-20)


def test_average_flow_is_inverse_to_the_size_of_a_layer():
    """Golden fact 10: the slope of mean score against 1/size, both logarithmic, is 1."""
    model = build("lottery/vgg11", generator=torch.Generator().manual_seed(0))
    linearise(model)
    scores = flow_scores(model, (3, 32, 32))
    means = [math.log(score.mean().item()) for score in scores.values()]
    inverse = [-math.log(score.numel()) for score in scores.values()]
    centred = [value - sum(inverse) / len(inverse) for value in inverse]
    slope = sum(x * y for x, y in zip(centred, means, strict=True)) / sum(x * x for x in centred)
    assert slope == pytest.approx(1, abs=1e-9)
