"""Unit pruning: scores whole units (outputs of linear layers, filters of convolutions) and allocates their masks.

Pruning a unit removes its weights, its bias, its normalisation channel and the weights of later layers that read it.
Units that meet in a sum or a product are pruned together, and so are a depthwise filter and its channel. The network
keeps all its outputs, and each layer at least one unit.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

import torch
from torch import Tensor, nn

from Layers import Masks, prunable, require_prunable
from Pruners import registry
from Pruners.criteria.scores import Batches, Scores
from Pruners.pruner import Pruner, load
from Utils.config.target import Target
from Utils.connectivity.effective import effective_masks, propagate_ranks
from Utils.connectivity.unit_groups import UnitGroup, UnitGroups, unit_groups
from Utils.errors import UserError
from Utils.sparsity.measure import measure
from Utils.topk import descending_order


def groups_of(model: nn.Module, input_shape: tuple[int, ...]) -> UnitGroups:
    """The unit groups of a network's masked layers; raises `UserError` if no unit can be removed."""
    units = unit_groups(model, input_shape, require_prunable(model))
    if not units.groups:
        raise UserError(f"--prune_unit=unit: no unit of {type(model).__name__} can be removed; prune its weights")
    return units


def score_units(
    pruner: Pruner,
    model: nn.Module,
    batches: Batches,
    target: Target,
    input_shape: tuple[int, ...],
    generator: torch.Generator | None = None,
    trained: nn.Module | None = None,
    compute_aware: bool = False,
) -> Scores:
    """Scores (places,) of each group: the criterion's weight scores summed per place, then re-scored by the quota.

    Units that are removed together have one place, hence one score. A criterion with several rounds scores once,
    because rounds that prune weights do not apply to units.
    `compute_aware` divides by the multiply-adds that removing one such unit saves (3SP, van Amersfoort et al. 2020).
    Raises `UserError` if the quota does not apply to units.
    """
    if pruner.quota not in registry.UNIT_QUOTAS:
        valid = ", ".join(registry.UNIT_QUOTAS)
        raise UserError(f"quota {pruner.quota} shares out weights, not units (valid with --prune_unit=unit: {valid})")
    units = groups_of(model, input_shape)
    weights = replace(pruner, iterations=1).criterion_scores(model, batches, target, generator, trained)
    parameters, is_of_units = prunable(model), registry.CRITERIA[pruner.criterion].is_of_units
    scores = {}
    for name, group in units.groups.items():
        parts = []
        for member in group.places:
            rows = weights[member].detach().double().flatten(1)
            own = rows[:, 0] if is_of_units else (rows * parameters[member][1].flatten(1)).sum(1)
            parts.append(group.sums(member, own))
        scores[name] = torch.stack(parts).sum(0)
    if compute_aware:
        saved = saved_macs(model, units, input_shape)
        scores = {name: score / saved[name].to(score.device) for name, score in scores.items()}
    return Scores(load(registry.QUOTAS[pruner.quota].target)(scores, open_units(model, units)))


def open_units(model: nn.Module, units: UnitGroups) -> dict[str, Tensor]:
    """For each group, a bool tensor (places,): whether any unit of the place has a kept weight."""
    parameters = prunable(model)
    is_open = {name: mask.reshape(len(mask), -1).any(1).int() for name, (_, mask) in parameters.items()}
    return {
        name: torch.stack([group.sums(member, is_open[member]) for member in group.places]).any(0)
        for name, group in units.groups.items()
    }


def saved_macs(model: nn.Module, units: UnitGroups, input_shape: tuple[int, ...]) -> dict[str, Tensor]:
    """For each group, int64 (places,): multiply-adds per input saved in the unpruned network without the place.

    Savings in the layers that read its units are included. One place of each kind is measured.
    """
    before = Masks.of(model)
    dense = Masks({name: torch.ones_like(mask) for name, mask in before.items()})
    saved: dict[int, int] = {}
    try:
        dense.install(model)
        total = measure(model, input_shape).totals["effective_macs"]
        for group in units.groups.values():
            for place, kind in enumerate(group.kinds):
                if kind not in saved:
                    _without(dense, group, torch.arange(len(group.kinds)) == place).install(model)
                    saved[kind] = max(1, total - measure(model, input_shape).totals["effective_macs"])
    finally:
        before.install(model)
    return {name: torch.tensor([saved[kind] for kind in group.kinds]) for name, group in units.groups.items()}


def allocate_units(
    model: nn.Module,
    scores: Mapping[str, Tensor],
    sparsity: Target | Decimal | float | str,
    input_shape: tuple[int, ...],
    pruning_type: str = "direct",
    effective_type: str = "exact",
) -> Masks:
    """Masks that keep the units with the highest scores and drop weights connected only to removed units.

    `direct` keeps exactly K = U - floor(sparsity U) of the U removable units, where units that are removed together
    count as one. `effective` keeps the fewest units that leave at least K = N - floor(sparsity N) of the N weights
    effective. Each layer, each group of a convolution, and each part of a layer that another layer reads keeps a unit.
    Raises `UserError` with the feasible sparsity if the target leaves too few units for that, or if fewer units or
    weights than the target are left to begin with.
    """
    target, units = Target.of(sparsity), groups_of(model, input_shape)
    order = _order(model, units, scores)
    if pruning_type == "direct":
        threshold = _direct_threshold(order, target)
    else:
        threshold = _effective_threshold(model, order, units, target, input_shape, effective_type)
    masks = Masks.of(model)
    for name, group in units.groups.items():
        masks = _without(masks, group, order.ranks[name] < threshold)
    # Weights connected only to removed units are pruned too, as if the units were cut out.
    return Masks(effective_masks(model, input_shape, masks, "graph")) & masks


@dataclass(frozen=True)
class _Order:
    """Places in the order of pruning: first those without a weight, last those that cover what must stay."""

    ranks: dict[str, Tensor]
    """Ranks (places,) by group, from 1 for the place that is pruned first."""
    left: int
    """Number of places with a weight."""
    needed: int
    """Number of places that must stay."""

    @property
    def total(self) -> int:
        """Number of places."""
        return sum(map(len, self.ranks.values()))


def _order(model: nn.Module, units: UnitGroups, scores: Mapping[str, Tensor]) -> _Order:
    """The order of pruning by scores."""
    is_open = torch.cat([group.cpu() for group in open_units(model, units).values()])
    flat = torch.cat([scores[name].cpu().double() for name in units.groups])
    is_needed = torch.zeros_like(is_open)
    for cover in units.covers:
        candidates = cover[is_open[cover]]
        if len(candidates) and not bool(is_needed[cover].any()):
            is_needed[candidates[flat[candidates].argmax()]] = True
    order = descending_order(flat)
    order = order[descending_order((is_open.double() + is_needed)[order])]
    ranks = torch.empty(len(order), dtype=torch.int64)
    ranks[order] = torch.arange(len(order), 0, -1)
    by_group = ranks.split([len(group.kinds) for group in units.groups.values()])
    return _Order(dict(zip(units.groups, by_group, strict=True)), int(is_open.sum()), int(is_needed.sum()))


def _direct_threshold(order: _Order, target: Target) -> int:
    """The lowest rank of a place to keep; raises `UserError` with the feasible sparsity if the target is infeasible."""
    total = order.total
    kept = target.kept(total)
    if kept < order.needed:
        highest = _sparsity(order.needed, total, ROUND_FLOOR)
        raise UserError(
            f"{kept} of {total} units cannot be kept: {order.needed} must stay, one in each layer, in each group of a "
            f"convolution and in each part of a layer that is read; ask for a sparsity of at most {highest}"
        )
    if kept > order.left:
        lowest = _sparsity(order.left, total, ROUND_CEILING)
        raise UserError(
            f"{kept} of {total} units cannot be kept: only {order.left} are left to begin with; ask for a sparsity of "
            f"at least {lowest}"
        )
    return total - kept + 1


def _effective_threshold(
    model: nn.Module,
    order: _Order,
    units: UnitGroups,
    target: Target,
    input_shape: tuple[int, ...],
    effective_type: str,
) -> int:
    """The lowest rank of a place to keep so that enough weights are effective and no unit that must stay is pruned.

    Raises `UserError` with the feasible sparsity if the network has too few effective weights to begin with.
    """
    last = order.total + 1  # weights outside the groups are pruned only with the units around them
    weight_ranks = {
        name: torch.full(mask.shape, last, dtype=torch.int32) * mask.cpu()
        for name, (_, mask) in prunable(model).items()
    }
    for name, group in units.groups.items():
        for member, places in group.places.items():
            ranks = torch.where(places >= 0, order.ranks[name][places], last).to(torch.int32)
            shape = [-1, *[1] * (weight_ranks[member].dim() - 1)]
            weight_ranks[member] = torch.minimum(weight_ranks[member], ranks.reshape(shape))
    device = next(model.parameters()).device
    flow = propagate_ranks(
        model, {name: rank.to(device) for name, rank in weight_ranks.items()}, input_shape, effective_type
    )
    effective = torch.cat([rank.flatten() for rank in flow.effective.values()])
    kept = target.kept(effective.numel())
    available = int((effective > 0).sum())
    if kept > available:
        lowest = _sparsity(available, effective.numel(), ROUND_CEILING)
        raise UserError(
            f"{kept} of {effective.numel()} weights cannot be kept: the network has only {available} effective ones to "
            f"begin with; ask for an effective sparsity of at least {lowest}"
        )
    # What must stay, which ranks highest, is kept even if fewer weights would do.
    first = order.total - order.needed + 1
    return min(first, int(effective.kthvalue(effective.numel() - kept + 1).values))


def _sparsity(kept: int, total: int, rounding: str) -> str:
    """The sparsity at which `kept` are left, to six decimals."""
    return format((1 - Decimal(kept) / Decimal(total)).quantize(Decimal("1e-6"), rounding).normalize(), "f")


def _without(masks: Masks, group: UnitGroup, is_removed: Tensor) -> Masks:
    """Masks with the weights and biases of the units at removed places (bool, (places,)) pruned."""
    changed = {name: mask.clone() for name, mask in masks.items()}
    for member, places in group.places.items():
        rows = (places >= 0) & is_removed[places]
        for name in (member, f"{member.removesuffix('weight')}bias"):
            if name in changed:
                changed[name][rows.to(changed[name].device)] = False
    return Masks(changed)
