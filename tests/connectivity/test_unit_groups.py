"""Unit groups of known networks: which units share a place, which stay, and of which sets one must stay."""

import pytest
import torch
from networks import make
from torch import nn

from Models import build
from Utils.connectivity.unit_groups import unit_groups

RGB = (3, 32, 32)


def layers_of(model: nn.Module, shape: tuple[int, ...]) -> list[list[str]]:
    """The layers of each group."""
    return [sorted(name.removesuffix(".weight") for name in group) for group in places_of(model, shape).values()]


def places_of(model: nn.Module, shape: tuple[int, ...]) -> dict[tuple[str, ...], dict[str, list[int]]]:
    """For each group, the places of the units of its layers."""
    groups = unit_groups(model, shape).groups.values()
    return {tuple(group.places): {name: own.tolist() for name, own in group.places.items()} for group in groups}


def test_groups_of_plain_networks():
    assert layers_of(build("lenet300100"), (1, 28, 28)) == [["fc1"], ["fc2"]]
    groups = places_of(build("vgg16"), RGB)
    assert len(groups) == 13 and all(len(group) == 1 for group in groups)


def test_residual_sums_share_decisions():
    groups = layers_of(build("lottery/resnet20"), RGB)
    # In each of three stages: a group of the stem or shortcut with the last layers of three blocks, three inner ones.
    assert sorted(map(len, groups)) == [1] * 9 + [4] * 3
    # What `left` makes is added to what it gets; `right` and the shortcut make one sum.
    assert layers_of(*make("residual")) == [["left", "stem"], ["right", "shortcut"]]
    assert layers_of(*make("concatenation")) == [["first"], ["second"]]


def test_what_is_multiplied_goes_together_and_what_is_added_to_the_input_stays():
    assert layers_of(*make("gate")) == [["excite", "stem"], ["squeeze"]]
    assert layers_of(*make("product")) == [["left", "right"]]

    class AddsInput(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.head = nn.Linear(4, 4), nn.Linear(4, 2)

        def forward(self, x):
            return self.head(x.flatten(1) + self.first(x.flatten(1)))

    assert layers_of(AddsInput(), (1, 2, 2)) == []


class Parts(nn.Module):
    """Each unit of `stem` has a fate of its own: two are read in parts, one is an output, and one is never read."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 6, 1)
        self.depthwise, self.grouped = nn.Conv2d(2, 4, 1, groups=2), nn.Conv2d(4, 4, 1, groups=2)
        self.head = nn.Conv2d(6, 1, 1)

    def forward(self, x):
        first, second, output, _ = self.stem(x).split([2, 2, 1, 1], 1)
        wide = self.depthwise(first)
        x = torch.cat([self.grouped(wide), second], 1)
        return torch.cat([self.head(x), output], 1)


def test_the_fate_of_a_unit_is_its_own():
    groups = unit_groups(Parts(), (1, 2, 2))
    assert {first: group.places for first, group in groups.groups.items()}.keys() == {"stem.weight", "grouped.weight"}
    places = {name: own.tolist() for name, own in groups.groups["stem.weight"].places.items()}
    # The filters 2 j and 2 j + 1 of a depthwise convolution read channel j.
    assert places == {"stem.weight": [0, 1, 2, 3, -1, -1], "depthwise.weight": [0, 0, 1, 1]}
    # A group of `grouped` reads one unit of `stem` twice, and has two filters; the head reads everything that is left.
    assert sorted(cover.tolist() for cover in groups.covers) == [[0], [0, 1], [1], [2, 3, 4, 5, 6, 7], [4, 5], [6, 7]]
    kinds = groups.groups["stem.weight"].kinds
    assert kinds[0] == kinds[1] != kinds[2] == kinds[3]


def test_a_layer_without_a_mask_keeps_its_units():
    model, shape = make("residual")
    (group,) = unit_groups(model, shape, {"stem.weight", "left.weight", "right.weight"}).groups.values()
    assert list(group.places) == ["stem.weight", "left.weight"]


@pytest.mark.parametrize(("norm", "covers"), [(nn.GroupNorm(2, 4), [[0, 1], [2, 3]]), (nn.LayerNorm((4, 2, 2)), None)])
def test_units_that_are_normalised_together_go_up_to_the_last(norm, covers):
    model = nn.Sequential(nn.Conv2d(1, 4, 1), norm, nn.Conv2d(4, 4, 1), nn.Flatten(), nn.Linear(16, 2))
    groups = unit_groups(model, (1, 2, 2))
    assert groups.groups["0.weight"].places["0.weight"].tolist() == [0, 1, 2, 3]
    assert [cover.tolist() for cover in groups.covers if int(cover.max()) < 4] == (
        [[0, 1], [2, 3], [0, 1, 2, 3]] if covers else [[0, 1, 2, 3]]
    )
