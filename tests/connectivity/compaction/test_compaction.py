"""Compaction: what is cut out, what is folded into biases, what stays and why."""

import itertools

import pytest
import torch
from compacting import check, unlike_the_initial
from conftest import OWN_NETWORK
from networks import random_masks
from torch import Tensor, nn

from Layers import MaskedConv2d, MaskedLinear, Masks, add_masks, mask_model, prunable
from Models import build
from Utils.connectivity import effective_masks
from Utils.connectivity.compaction import compact
from Utils.errors import UserError


def test_a_network_of_the_user_says_the_same():
    model = unlike_the_initial(build(f"{OWN_NETWORK}:residual", (3, 12, 12), 10), 0)
    layers = check(model, (3, 12, 12))
    assert (layers["units_before"] == layers["units_after"]).all()
    random_masks(model, 0.02, 3).install(model)
    layers = check(model, (3, 12, 12))
    assert layers["parameters_after"].sum() < layers["parameters_before"].sum()


def mlp(*widths: int) -> nn.Sequential:
    layers = [layer for pair in itertools.pairwise(widths) for layer in (MaskedLinear(*pair), nn.ReLU())]
    return nn.Sequential(*layers[:-1])


def test_units_of_a_chain_are_those_with_effective_weights():
    model = unlike_the_initial(mlp(20, 15, 12, 4), 0)
    random_masks(model, 0.1, 1).install(model)
    effective = effective_masks(model, (20,))
    units = check(model, (20,)).set_index("layer")["units_after"]
    assert units.to_dict() == {
        "0": int(effective["0.weight"].any(1).sum()), "2": int(effective["2.weight"].any(1).sum()), "4": 4,
    }  # fmt: skip
    assert 0 < units["0"] < 15 and 0 < units["2"] < 12


def test_the_constant_of_a_dead_unit_goes_into_the_next_bias():
    model = unlike_the_initial(mlp(3, 2, 2), 0)
    masks = Masks.of(model)
    masks["0.weight"][1] = False
    masks.install(model)
    first, last = model[0], model[2]
    small = compact(model, (3,)).model
    assert [tuple(one.weight.shape) for one in small.modules() if isinstance(one, nn.Linear)] == [(1, 3), (2, 1)]
    _, folded = (one for one in small.modules() if isinstance(one, nn.Linear))
    expected = last.bias + last.weight[:, 1] * first.bias[1].clamp(min=0)
    torch.testing.assert_close(folded.bias.detach(), expected.detach(), rtol=0, atol=1e-14)


def convolutions(padding: int, mode: str = "zeros") -> nn.Sequential:
    """Two convolutions, of which the first has a dead filter with a bias that ReLU lets through."""
    model = nn.Sequential(
        MaskedConv2d(2, 3, 3, padding=1), nn.ReLU(), MaskedConv2d(3, 2, 3, padding=padding, padding_mode=mode),
        nn.Flatten(), MaskedLinear(2 * (4 + 2 * padding) ** 2, 2),
    )  # fmt: skip
    model = unlike_the_initial(model, 0)
    model[0].bias.data[1] = 0.7
    masks = Masks.of(model)
    masks["0.weight"][1] = False
    masks.install(model)
    return model


@pytest.mark.parametrize(("padding", "mode", "units"), [(0, "zeros", 2), (1, "zeros", 3), (1, "circular", 2)])
def test_a_constant_map_is_folded_unless_zero_padding_shows_its_border(padding, mode, units):
    model = convolutions(padding, mode)
    layers = check(model, (2, 6, 6)).set_index("layer")
    assert layers.loc["0", "units_after"] == layers.loc["2", "inputs_after"] == units
    kept = compact(model, (2, 6, 6)).kept
    assert kept == (["1 of 0 carry nothing, but stay: what they add to 2 differs at the border"] if units == 3 else [])


def test_a_constant_of_zero_needs_no_border():
    model = convolutions(1)
    model[0].bias.data[1] = -0.7  # ReLU makes it 0
    assert check(model, (2, 6, 6)).set_index("layer").loc["0", "units_after"] == 2
    assert compact(model, (2, 6, 6)).kept == []


def test_a_collapsed_network_is_its_constant():
    model = unlike_the_initial(mlp(6, 5, 4, 3), 0)
    masks = Masks.of(model)
    masks["2.weight"][:] = False
    masks.install(model)
    layers = check(model, (6,))
    assert not layers[["units_after", "parameters_after"]].to_numpy().any()
    assert not list(compact(model, (6,)).model.parameters())


class Block(nn.Module):
    """A sum of a skip and a branch."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.inner, self.outer = nn.Linear(4, 5), nn.Linear(5, 6), nn.Linear(6, 5)
        self.head = nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x).relu()
        return self.head(x + self.outer(self.inner(x).relu()))


def test_a_branch_without_a_path_is_gone_and_its_constant_stays():
    model = unlike_the_initial(mask_model(Block(), (4,)), 0)
    masks = Masks.of(model)
    masks["outer.weight"][:] = False
    masks.install(model)
    layers = check(model, (4,)).set_index("layer")
    assert layers["units_after"].to_dict() == {"stem": 5, "inner": 0, "outer": 0, "head": 3}


def test_channels_of_a_sum_go_together():
    model = unlike_the_initial(mask_model(Block(), (4,)), 0)
    masks = Masks.of(model)
    masks["stem.weight"][:2] = False
    masks["outer.weight"][1:3] = False
    masks.install(model)
    layers = check(model, (4,)).set_index("layer")
    assert (
        layers.loc["stem", "units_after"]
        == layers.loc["outer", "units_after"]
        == layers.loc["head", "inputs_after"]
        == 4
    )


def test_groups_stay_of_one_size():
    model = unlike_the_initial(
        nn.Sequential(
            MaskedConv2d(2, 8, 1), nn.ReLU(), MaskedConv2d(8, 8, 1, groups=4), nn.Flatten(), MaskedLinear(8, 2)
        ),
        0,
    )
    masks = Masks.of(model)
    masks["0.weight"][[0, 2, 3]] = False  # one input of the first group, both of the second one
    masks.install(model)
    compacted = compact(model, (2, 1, 1))
    check(model, (2, 1, 1))
    (grouped,) = (one for one in compacted.model.modules() if isinstance(one, nn.Conv2d) and one.groups > 1)
    assert (grouped.groups, grouped.in_channels, grouped.out_channels) == (3, 6, 6)
    assert compacted.kept == ["1 of 0 carry nothing, but stay: groups of 2 are of one size"]


def test_channels_that_layer_normalisation_counts_stay():
    model = unlike_the_initial(mask_model(nn.Sequential(nn.Linear(4, 5), nn.LayerNorm(5), nn.Linear(5, 2)), (4,)), 0)
    masks = Masks.of(model)
    masks["0.weight"][1] = False
    masks.install(model)
    assert check(model, (4,)).set_index("layer").loc["0", "units_after"] == 5
    assert compact(model, (4,)).kept == ["1 of 0 carry nothing, but stay: 1 counts them"]


def test_batch_statistics_are_refused():
    model = build("lenet300100", (1, 8, 8), 10, "batch")
    with pytest.raises(UserError, match=r"normalises with the statistics of each batch.*--batchnorm=running"):
        compact(model, (1, 8, 8))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_the_precision_is_that_of_the_network(dtype):
    model = unlike_the_initial(build("lenet5", (1, 28, 28), 10), 0).to(dtype)
    random_masks(model, 0.1, 0).install(model)
    small = compact(model, (1, 28, 28)).model
    assert {one.dtype for one in small.parameters()} == {dtype}


def test_a_layer_that_is_called_twice_is_cut_for_both_calls():
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.shared, self.head = nn.Linear(4, 5), nn.Linear(5, 5), nn.Linear(5, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.shared(self.shared(self.first(x).relu()).relu()).relu())

    model = unlike_the_initial(mask_model(Twice(), (4,)), 0)
    for seed in range(10):
        random_masks(model, 0.3, seed).install(model)
        check(model, (4,))


def test_the_state_dict_has_names_of_the_network_and_loads_without_it():
    model = unlike_the_initial(build("lottery/resnet20", (3, 16, 16), 10), 0)
    random_masks(model, 0.05, 0).install(model)
    small = compact(model, (3, 16, 16)).model
    names = {name.rpartition(".")[0] for name in small.state_dict() if "." in name}
    assert names <= {name.replace(".", "_") for name, _ in model.named_modules()}
    program = torch.export.export(small, (torch.randn(2, 3, 16, 16, dtype=torch.float64),))
    images = torch.randn(2, 3, 16, 16, dtype=torch.float64)
    torch.testing.assert_close(program.module()(images), model(images))


def test_masks_of_biases_and_normalisation_count():
    model = unlike_the_initial(build("lottery/vgg11-bn", (3, 32, 32), 10), 0)
    for kind in ("batchnorm", "bias"):
        add_masks(model, kind)
    random_masks(model, 0.3, 0).install(model)
    assert any(name.endswith("bias") for name in prunable(model))
    check(model, (3, 32, 32))
