"""Unit pruning: scores whole units (outputs of linear layers, filters of convolutions) and allocates their masks.

Pruning a unit removes its weights, its bias, its normalisation channel and the weights of later layers that read it.
Units that are added to each other are pruned together. Each layer keeps at least one unit, and the network keeps all
its outputs.
"""

from collections.abc import Mapping
from dataclasses import replace
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

import torch
from torch import Tensor, nn

from Layers import Masks, prunable, require_prunable
from Pruners import registry
from Pruners.criteria.scores import Batches, Scores
from Pruners.pruner import Pruner, load
from Utils.config.target import Target
from Utils.connectivity.effective import effective_masks, propagate_ranks
from Utils.connectivity.unit_groups import unit_groups
from Utils.errors import UserError
from Utils.sparsity.measure import measure
from Utils.topk import descending_order

Groups = dict[str, tuple[str, ...]]
"""Parameters whose rows are pruned together, by the name of the first parameter."""


def groups_of(model: nn.Module) -> Groups:
    """The unit groups of a network's masked layers; raises `UserError` if no unit can be removed."""
    parameters = require_prunable(model)
    names = [tuple(f"{layer}.weight" for layer in group) for group in unit_groups(model)]
    # A layer without a mask cannot lose its units, so neither can the rest of its group.
    groups = {group[0]: group for group in names if all(name in parameters for name in group)}
    if not groups:
        raise UserError(f"--prune_unit=unit: no unit of {type(model).__name__} can be removed; prune its weights")
    return groups


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
    """Scores (units,) of each group: the criterion's weight scores summed per unit, then re-scored by the quota.

    A criterion with several rounds scores once, because rounds that prune weights do not apply to units.
    `compute_aware` divides by the multiply-adds that removing one such unit saves (3SP, van Amersfoort et al. 2020).
    Raises `UserError` if the quota does not apply to units.
    """
    if pruner.quota not in registry.UNIT_QUOTAS:
        valid = ", ".join(registry.UNIT_QUOTAS)
        raise UserError(f"quota {pruner.quota} shares out weights, not units (valid with --prune_unit=unit: {valid})")
    groups = groups_of(model)
    weights = replace(pruner, iterations=1).criterion_scores(model, batches, target, generator, trained)
    parameters, is_of_units = prunable(model), registry.CRITERIA[pruner.criterion].is_of_units
    scores = {}
    for name, group in groups.items():
        parts = []
        for member in group:
            rows = weights[member].detach().double().flatten(1)
            parts.append(rows[:, 0] if is_of_units else (rows * parameters[member][1].flatten(1)).sum(1))
        scores[name] = torch.stack(parts).sum(0)
    if compute_aware:
        saved = saved_macs(model, groups, input_shape)
        scores = {name: score / saved[name] for name, score in scores.items()}
    return Scores(load(registry.QUOTAS[pruner.quota].target)(scores, open_units(model, groups)))


def open_units(model: nn.Module, groups: Groups) -> dict[str, Tensor]:
    """For each group, a bool tensor (units,) of the units with a kept weight in any of the group's layers."""
    parameters = prunable(model)
    return {
        name: torch.stack([parameters[member][1].flatten(1).any(1) for member in group]).any(0)
        for name, group in groups.items()
    }


def saved_macs(model: nn.Module, groups: Groups, input_shape: tuple[int, ...]) -> dict[str, int]:
    """Multiply-adds per input that removing one unit of each group saves in the unpruned network.

    Savings in the layers that read the unit are included.
    """
    before = Masks.of(model)
    dense = Masks({name: torch.ones_like(mask) for name, mask in before.items()})
    saved = {}
    try:
        dense.install(model)
        total = measure(model, input_shape).totals["effective_macs"]
        for name, group in groups.items():
            _without(dense, group, torch.tensor([0])).install(model)
            saved[name] = max(1, total - measure(model, input_shape).totals["effective_macs"])
    finally:
        before.install(model)
    return saved


def allocate_units(
    model: nn.Module,
    scores: Mapping[str, Tensor],
    sparsity: Target | Decimal | float | str,
    input_shape: tuple[int, ...],
    pruning_type: str = "direct",
    effective_type: str = "exact",
) -> Masks:
    """Masks that keep the units with the highest scores and drop weights connected only to removed units.

    `direct` keeps exactly K = U - floor(sparsity U) of the U removable units. `effective` keeps the fewest units that
    leave at least K = N - floor(sparsity N) of the N weights effective. Raises `UserError` with the feasible sparsity
    if a layer would lose all units, or if fewer units or weights than the target are left to begin with.
    """
    target, groups = Target.of(sparsity), groups_of(model)
    ranks = _unit_ranks(scores, open_units(model, groups))
    if pruning_type == "direct":
        threshold = _direct_threshold(model, ranks, groups, target)
    else:
        threshold = _effective_threshold(model, ranks, groups, target, input_shape, effective_type)
    masks = Masks.of(model)
    for name, group in groups.items():
        masks = _without(masks, group, (ranks[name] < threshold).nonzero()[:, 0])
    # Weights connected only to removed units are pruned too, as if the units were cut out.
    return Masks(effective_masks(model, input_shape, masks, "graph")) & masks


def _direct_threshold(model: nn.Module, ranks: Mapping[str, Tensor], groups: Groups, target: Target) -> int:
    """The lowest rank of a unit to keep; raises `UserError` with the feasible sparsity if the target is infeasible."""
    total = sum(map(len, ranks.values()))
    kept = target.kept(total)
    if kept < len(groups):
        highest = Decimal(1) - Decimal(len(groups)) / Decimal(total)
        raise UserError(
            f"{kept} of {total} units cannot be kept: each of {len(groups)} layers (or groups of layers that are "
            f"added) keeps one; ask for a sparsity of at most {highest.quantize(Decimal('1e-6'), ROUND_FLOOR)}"
        )
    left = sum(int(units.sum()) for units in open_units(model, groups).values())
    if kept > left:
        lowest = (Decimal(1) - Decimal(left) / Decimal(total)).quantize(Decimal("1e-6"), ROUND_CEILING)
        raise UserError(
            f"{kept} of {total} units cannot be kept: only {left} are left to begin with; ask for a sparsity of at "
            f"least {lowest}"
        )
    return total - kept + 1


def _effective_threshold(
    model: nn.Module,
    ranks: Mapping[str, Tensor],
    groups: Groups,
    target: Target,
    input_shape: tuple[int, ...],
    effective_type: str,
) -> int:
    """The lowest rank of a unit to keep so that enough weights are effective and every group keeps a unit.

    Raises `UserError` with the feasible sparsity if the network has too few effective weights to begin with.
    """
    parameters = prunable(model)
    total = sum(map(len, ranks.values()))
    last = total + 1  # weights outside the groups are pruned only with the units around them
    weight_ranks = {
        name: torch.full(mask.shape, last, dtype=torch.int32) * mask.cpu() for name, (_, mask) in parameters.items()
    }
    for name, group in groups.items():
        for member in group:
            shape = [-1, *[1] * (weight_ranks[member].dim() - 1)]
            weight_ranks[member] = torch.minimum(weight_ranks[member], ranks[name].to(torch.int32).reshape(shape))
    device = next(model.parameters()).device
    flow = propagate_ranks(
        model, {name: rank.to(device) for name, rank in weight_ranks.items()}, input_shape, effective_type
    )
    effective = torch.cat([rank.flatten() for rank in flow.effective.values()])
    kept = target.kept(effective.numel())
    available = int((effective > 0).sum())
    if kept > available:
        lowest = (Decimal(1) - Decimal(available) / effective.numel()).quantize(Decimal("1e-6"), ROUND_CEILING)
        raise UserError(
            f"{kept} of {effective.numel()} weights cannot be kept: the network has only {available} effective ones to "
            f"begin with; ask for an effective sparsity of at least {lowest}"
        )
    # The best unit of each group, which all rank from `first` on, is kept even if fewer weights would do.
    first = total - len(groups) + 1
    return min(first, int(effective.kthvalue(effective.numel() - kept + 1).values))


def _unit_ranks(scores: Mapping[str, Tensor], unpruned: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Ranks (units,) of each group, from 1 in the order of pruning.

    Units without a weight come first, the best unit of each group last.
    """
    flat = {}
    for name, score in scores.items():
        tier = unpruned[name].cpu().double()
        best = int(torch.where(tier > 0, score.cpu(), -torch.inf).argmax())
        tier[best] += 1
        flat[name] = (tier, score.cpu().double())
    tiers, flat_scores = (torch.cat([pair[part] for pair in flat.values()]) for part in (0, 1))
    order = descending_order(flat_scores)
    order = order[descending_order(tiers[order])]
    ranks = torch.empty(len(order), dtype=torch.int64)
    ranks[order] = torch.arange(len(order), 0, -1)
    return dict(zip(flat, ranks.split([len(score) for score in scores.values()]), strict=True))


def _without(masks: Masks, group: tuple[str, ...], units: Tensor) -> Masks:
    """Masks with the rows and biases of the given units pruned."""
    changed = {name: mask.clone() for name, mask in masks.items()}
    for member in group:
        for name in (member, f"{member.removesuffix('weight')}bias"):
            if name in changed:
                changed[name][units.to(changed[name].device)] = False
    return Masks(changed)
