"""Whole units of random networks, against networks in which the removed units are really cut out."""

import copy
import re
from collections.abc import Mapping
from decimal import Decimal
from functools import partial

import torch
from hypothesis import given, reject, settings
from hypothesis import strategies as st
from random_networks import SHAPE, Gate, Sum, networks
from torch import Tensor, nn

from Layers import Masks
from Pruners.units import allocate_units, groups_of
from Utils.config.target import Target
from Utils.connectivity import effective_masks
from Utils.connectivity.unit_groups import UnitGroup
from Utils.errors import UserError


def rows(masks: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Whether each unit of each layer has a weight."""
    return {name: mask.flatten(1).any(1) for name, mask in masks.items() if mask.dim() > 1}


class Cut:
    """A copy of a network without some units: what a removed unit makes is not a number, and no layer reads that."""

    def __init__(self, model: nn.Module, kept: Mapping[str, Tensor], removed: Mapping[str, Tensor]) -> None:
        self.model, self.kept, self.removed = copy.deepcopy(model), kept, removed
        self.weights: dict[str, int] = {}
        """Number of weights of the small layers."""
        for name, module in self.model.named_modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                module.register_forward_pre_hook(partial(self.read, f"{name}.weight"))
                module.register_forward_hook(partial(self.cut, f"{name}.weight"))
            elif type(module) in (Sum, Gate):
                ends: list[Tensor] = []
                for end in (module.left_end, module.right_end):
                    end.register_forward_hook(lambda module, inputs, output, ends=ends: ends.append(output.isnan()))
                module.register_forward_hook(lambda module, inputs, output, ends=ends: check_ends(ends))

    def read(self, name: str, layer: nn.Module, inputs: tuple[Tensor]) -> Tensor:
        """Leave out the channels that are cut out, and count the weights that are left."""
        x = inputs[0]
        is_cut = x[0].flatten(1).isnan() if isinstance(layer, nn.Conv2d) else x.isnan().T
        assert torch.equal(is_cut.all(1), is_cut.any(1)), "a channel is cut out at all its positions or at none"
        groups = getattr(layer, "groups", 1)
        channels, units = ((~is_cut[:, 0]).reshape(groups, -1), self.kept[name].reshape(groups, -1))
        self.weights[name] = int((units.sum(1) * channels.sum(1)).sum()) * layer.weight[0, 0].numel()
        if groups > 1 and channels.shape[1] == 1:
            assert torch.equal(channels.expand(units.shape), ~self.removed[name].reshape(groups, -1)), "depthwise"
        return x.nan_to_num()

    def cut(self, name: str, layer: nn.Module, inputs: tuple[Tensor], output: Tensor) -> Tensor:
        """Cut out the removed units."""
        return output.masked_fill(self.removed[name].reshape(1, -1, *[1] * (output.dim() - 2)), torch.nan)


def check_ends(ends: list[Tensor]) -> None:
    left, right = ends
    assert torch.equal(left, right), "what is added or multiplied is cut out together"


def randomise(model: nn.Module, seed: int) -> None:
    """Random weights, biases, shifts and statistics, so that a unit that is only half cut out shows."""
    generator = torch.Generator().manual_seed(seed)
    for name, value in [*model.named_parameters(), *model.named_buffers()]:
        if value.is_floating_point():
            value.data.uniform_(0.5 if "var" in name else -1, 1, generator=generator)


@torch.no_grad()
def check_cut(model: nn.Module, masks: Masks, removed: Mapping[str, Tensor]) -> None:
    """The masked network computes what the cut one computes, and has the same weights."""
    cut = Cut(model, rows(masks), removed)
    images = torch.rand(2, *SHAPE, dtype=torch.float64)
    expected = cut.model(images)
    masked = copy.deepcopy(model)
    masks.install(masked)
    torch.testing.assert_close(masked(images), expected, rtol=1e-9, atol=1e-12)
    assert cut.weights == {name: int(masks[name].sum()) for name in cut.weights}


def kept_places(masks: Masks, dense: Masks, group: UnitGroup) -> Tensor:
    """Whether each place has a weight; all its units have, except those that are on no path in the dense network."""
    kept, alive = rows(masks), rows(dense)
    is_kept = []
    for place in range(len(group.kinds)):
        units = [kept[name][(own == place) & alive[name]] for name, own in group.places.items()]
        assert len(torch.cat(units).unique()) == 1, "units of one place share their fate"
        is_kept.append(bool(torch.cat(units)[0]))
    return torch.tensor(is_kept)


def check_units(model: nn.Module, masks: Masks, groups: Mapping[str, UnitGroup]) -> int:
    """Number of units that are kept; the others are cut out, and no layer is empty that was not so before."""
    dense = Masks(effective_masks(model, SHAPE, effective_type="graph"))
    assert [name for name in masks if masks[name].any()] == [name for name in dense if dense[name].any()]
    assert Masks(effective_masks(model, SHAPE, masks, "graph")) == masks, "every kept unit is on a path"
    removed = {name: torch.zeros_like(units) for name, units in rows(masks).items()}
    count = 0
    for group in groups.values():
        kept = kept_places(masks, dense, group)
        removed |= {name: (places >= 0) & ~kept[places] for name, places in group.places.items()}
        count += int(kept.sum())
    check_cut(model, masks, removed)
    return count


def groups_and_scores(model: nn.Module, seed: int) -> tuple[Mapping[str, UnitGroup], dict[str, Tensor]]:
    """Unit groups of a network with random weights, and random scores; a network without such units is skipped."""
    randomise(model.double(), seed)
    try:
        groups = groups_of(model, SHAPE).groups
    except UserError as error:
        assert "no unit of Sequential can be removed" in str(error)
        reject()
    generator = torch.Generator().manual_seed(seed)
    return groups, {name: torch.rand(len(group.kinds), generator=generator) for name, group in groups.items()}


draws = {"model": networks(width=8), "seed": st.integers(0, 10**6), "sparsity": st.decimals("0", "0.99", places=2)}


@settings(max_examples=200, deadline=None)
@given(**draws)
def test_a_direct_target_counts_units_exactly(model, seed, sparsity):
    """An infeasible request says what is possible."""
    groups, scores = groups_and_scores(model, seed)
    try:
        masks = allocate_units(model, scores, sparsity, SHAPE)
    except UserError as error:
        (highest,) = re.findall(r"must stay, .* at most (\S+)$", str(error))
        assert Decimal(highest) < sparsity
        sparsity = Decimal(highest)
        masks = allocate_units(model, scores, sparsity, SHAPE)
    assert check_units(model, masks, groups) == Target.of(sparsity).kept(sum(map(len, scores.values())))


@settings(max_examples=100, deadline=None)
@given(**draws)
def test_an_effective_target_is_reached(model, seed, sparsity):
    """A request for more effective weights than the network has says what is possible."""
    groups, scores = groups_and_scores(model, seed)
    try:
        masks = allocate_units(model, scores, sparsity, SHAPE, "effective")
    except UserError as error:
        (lowest,) = re.findall(r"effective ones to begin with; .* at least (\S+)$", str(error))
        assert Decimal(lowest) > sparsity
        sparsity = Decimal(lowest)
        masks = allocate_units(model, scores, sparsity, SHAPE, "effective")
    check_units(model, masks, groups)
    assert Masks(effective_masks(model, SHAPE, masks)).kept >= Target.of(sparsity).kept(masks.total)
