"""Unit sums: by hand on small networks, and conserved in every homogeneous network."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from networks import NETWORKS, make
from random_networks import SHAPE, Gate, networks
from torch import Tensor, nn

from Layers import MaskedBatchNorm2d, MaskedConv2d, MaskedLinear, add_masks, prunable
from Models import build
from Pruners.criteria.linearised import linearise
from Pruners.criteria.synflow import scores_and_flow
from Utils.connectivity.unit_sums import UnitSums, unit_sums


class TwoMaps(nn.Module):
    """Two filters of a grouped convolution, normalised, flattened, and read twice."""

    def __init__(self) -> None:
        super().__init__()
        self.maps = MaskedConv2d(2, 2, 1, groups=2)
        self.norm = MaskedBatchNorm2d(2)
        self.shared = MaskedLinear(4, 4)
        self.head = MaskedLinear(4, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.maps(x)).relu().flatten(1)
        return self.head(self.shared(self.shared(x).relu()).relu())


class ReadTwice(nn.Module):
    """A layer that reads two units, then one of them beside a zero."""

    def __init__(self) -> None:
        super().__init__()
        self.units = MaskedLinear(2, 2)
        self.head = MaskedLinear(2, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        x = self.units(x).relu()
        return self.head(x) + self.head(F.pad(x[:, :1], (0, 1)))


def numbered(model: nn.Module) -> dict[str, Tensor]:
    """Scores of all parameters: 1, 2, 3, ..."""
    scores, first = {}, 1
    for name, parameter in model.named_parameters():
        scores[name] = torch.arange(first, first + parameter.numel(), dtype=torch.float64).reshape(parameter.shape)
        first += parameter.numel()
    return scores


def by_name(sums: UnitSums) -> dict[str, tuple[float, float]]:
    names = (f"{layer}[{unit}]" for layer, unit in zip(sums.layers, sums.units, strict=True))
    return dict(zip(names, zip(sums.entering, sums.leaving, strict=True), strict=True))


def test_the_sums_of_a_plain_network_by_hand():
    model = nn.Sequential(MaskedLinear(2, 2), nn.ReLU(), MaskedLinear(2, 3))
    sums = by_name(unit_sums(model, (2,), numbered(model)))
    # Rows 1 + 2 and 3 + 4, biases 5 and 6; columns 7 + 9 + 11 and 8 + 10 + 12.
    assert sums == {"0[0]": (8, 27), "0[1]": (13, 30)}


def test_a_shared_layer_a_shift_and_a_flattened_map_by_hand():
    """The shared layer reads the maps, then itself, through the same columns: all these units are one."""
    model = TwoMaps()
    sums = by_name(unit_sums(model, (2, 1, 2), numbered(model)))
    # Maps: weights 1, 2, biases 3, 4, shifts 7, 8 (scales, 5 and 6, are in between and count nowhere). The shared
    # layer: weights 9 to 24, biases 25 to 28. Maps 0 and 1 are read at columns 0, 1 and 2, 3, as are its own units.
    shared = np.arange(9, 25).reshape(4, 4)
    entering = [1 + 3 + 7 + shared[:2].sum() + 25 + 26, 2 + 4 + 8 + shared[2:].sum() + 27 + 28]
    leaving = [shared[:, :2].sum() + 29 + 30, shared[:, 2:].sum() + 31 + 32]
    assert sums == {f"maps[{unit}]": (entering[unit], leaving[unit]) for unit in (0, 1)}


def test_a_unit_that_only_one_call_of_a_layer_reads():
    model = ReadTwice()
    assert by_name(unit_sums(model, (2,), numbered(model))) == {"units[0]": (8, 7), "units[1]": (13, 8)}


@pytest.mark.parametrize(("name", "units"), [
    ("residual", {"stem": 3, "right": 4}), ("concatenation", {"first": 2, "second": 3}),
    ("gate", {"stem": 3, "squeeze": 2}), ("product", {"left": 5}), ("grouped", {"widen": 4, "depthwise": 4}),
    ("max-pooled", {"first": 2, "second": 2}),
])  # fmt: skip
def test_the_hidden_units_of_each_kind_of_connection(name, units):
    """Units that meet in a sum are named by the first of them; inputs that meet others, and outputs, are left out."""
    model, shape = make(name)
    sums = unit_sums(model, shape, {one: torch.ones_like(value) for one, value in model.named_parameters()})
    assert {layer: sums.layers.count(layer) for layer in dict.fromkeys(sums.layers)} == units
    assert NETWORKS.keys() == {"residual", "concatenation", "gate", "product", "grouped", "max-pooled"}


def scored_by_flow(model: nn.Module, shape: tuple[int, ...]) -> UnitSums:
    """The sums of SynFlow's scores, those of biases and shifts among them."""
    for kind in ("bias", "batchnorm"):
        if kind == "bias" or any(isinstance(module, nn.BatchNorm2d) for module in model.modules()):
            add_masks(model, kind)
    for weight, _ in prunable(model).values():
        weight.requires_grad_()
    linearise(model)
    return unit_sums(model, shape, scores_and_flow(model, shape)[0])


@settings(max_examples=60, deadline=None)
@given(model=networks())
def test_synflow_conserves_the_scores_of_each_unit_of_any_network(model):
    """Golden fact 9, with residual sums, concatenations, gates, groups, shuffles, and biases as further sources."""
    sums = scored_by_flow(model, SHAPE)
    np.testing.assert_allclose(sums.entering, sums.leaving, rtol=1e-11, atol=1e-300)


def test_the_random_networks_have_hidden_units():
    """So that the test above cannot pass without any."""
    counts: list[int] = []

    @settings(max_examples=30, deadline=None, database=None)
    @given(model=networks())
    def count(model):
        counts.append(len(scored_by_flow(model, SHAPE).units))

    count()
    assert np.mean([number > 0 for number in counts]) > 0.8


@settings(max_examples=60, deadline=None)
@given(model=networks(), seed=st.integers(0, 10**6))
def test_gradients_of_any_loss_are_conserved(model, seed):
    """Golden fact 8: w dL/dw of a network with rectifiers, for a loss that is no sum of outputs."""
    assume(not any(isinstance(module, nn.Tanh | Gate) for module in model.modules()))
    model.double()
    add_masks(model, "bias")
    torch.manual_seed(seed)
    output = model(torch.randn(3, *SHAPE, dtype=torch.float64))
    loss = (output.sin() * torch.randn_like(output)).sum() + output.logsumexp(1).square().sum()
    parameters = dict(model.named_parameters())
    gradients = torch.autograd.grad(loss, list(parameters.values()), allow_unused=True)
    scores = {
        name: torch.zeros_like(value) if gradient is None else value.detach() * gradient
        for (name, value), gradient in zip(parameters.items(), gradients, strict=True)
    }
    sums = unit_sums(model, SHAPE, scores)
    scale = max((float(score.abs().max()) for score in scores.values()), default=0)
    np.testing.assert_allclose(sums.entering, sums.leaving, rtol=0, atol=1e-10 * max(scale, 1))


@pytest.mark.parametrize("name", ["lottery/resnet20", pytest.param("imagenet/densenet121", marks=pytest.mark.slow)])
def test_large_networks(name):
    shape = (3, 32, 32)
    model = build(name, shape, 10, generator=torch.Generator().manual_seed(0))
    sums = scored_by_flow(model, shape)
    assert len(sums.units) > 400
    np.testing.assert_allclose(sums.entering, sums.leaving, rtol=1e-12)
