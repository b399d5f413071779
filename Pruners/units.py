"""Which whole units are kept: outputs of linear layers, filters of convolutions?

A unit that goes takes along its weights, bias and normalisation channel, and the weights of the next layers that read
it. Units that are added to each other go together; each layer keeps one unit at least, outputs of the network stay.
"""

from collections.abc import Mapping
from dataclasses import replace
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

import torch
from torch import Tensor, nn

from Layers import Masks, prunable
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
"""The parameters whose rows share decisions, by the name of the first."""


def groups_of(model: nn.Module) -> Groups:
    """The groups of a network's masked layers; raises `UserError` if none of its units can be removed."""
    own = prunable(model)
    groups = [tuple(f"{layer}.weight" for layer in group) for group in unit_groups(model)]
    # A layer without a mask cannot lose its part of a decision.
    found = {group[0]: group for group in groups if all(name in own for name in group)}
    if not found:
        raise UserError(f"--prune_unit=unit: no unit of {type(model).__name__} can be removed; prune its weights")
    return found


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
    """A score (units,) for each group: what its criterion gives the units' weights, summed, then the quota's.

    Criteria of several rounds score once, as rounds that prune weights say nothing of units.
    `compute_aware` divides by the multiply-adds that the network saves without one such unit (3SP, van Amersfoort et
    al. 2020).
    """
    if pruner.quota not in registry.UNIT_QUOTAS:
        valid = ", ".join(registry.UNIT_QUOTAS)
        raise UserError(f"quota {pruner.quota} shares out weights, not units (valid with --prune_unit=unit: {valid})")
    groups = groups_of(model)
    weights = replace(pruner, iterations=1).criterion_scores(model, batches, target, generator, trained)
    own, is_of_units = prunable(model), registry.CRITERIA[pruner.criterion].is_of_units
    scores = {}
    for name, group in groups.items():
        parts = []
        for member in group:
            rows = weights[member].detach().double().flatten(1)
            parts.append(rows[:, 0] if is_of_units else (rows * own[member][1].flatten(1)).sum(1))
        scores[name] = torch.stack(parts).sum(0)
    if compute_aware:
        saved = saved_macs(model, groups, input_shape)
        scores = {name: score / saved[name] for name, score in scores.items()}
    return Scores(load(registry.QUOTAS[pruner.quota].target)(scores, open_units(model, groups)))


def open_units(model: nn.Module, groups: Groups) -> dict[str, Tensor]:
    """For each group, which of its units have a weight left in any of its layers."""
    own = prunable(model)
    return {
        name: torch.stack([own[member][1].flatten(1).any(1) for member in group]).any(0)
        for name, group in groups.items()
    }


def saved_macs(model: nn.Module, groups: Groups, input_shape: tuple[int, ...]) -> dict[str, int]:
    """Multiply-adds for one input that the unpruned network saves without one unit of each group, its readers' too."""
    before = Masks.of(model)
    every = Masks({name: torch.ones_like(mask) for name, mask in before.items()})
    saved = {}
    try:
        every.install(model)
        total = measure(model, input_shape).totals["effective_macs"]
        for name, group in groups.items():
            _without(every, group, torch.tensor([0])).install(model)
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
    """The masks that keep the best units, and nothing that reads or makes only what is gone.

    `direct` keeps exactly K = U - floor(sparsity U) of the units that can be removed; `effective` keeps the fewest of
    which at least K = N - floor(sparsity N) weights are effective. Raises `UserError` if a layer would lose all units.
    """
    target, groups = Target.of(sparsity), groups_of(model)
    ranks = _unit_ranks(scores, open_units(model, groups))
    total = sum(map(len, ranks.values()))
    first = 1 + total - len(groups)  # from this rank on, units are the best of their groups
    if pruning_type == "direct":
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
        threshold = total - kept + 1
    else:
        threshold = _effective_threshold(model, ranks, groups, target, input_shape, effective_type, first)
    masks = Masks.of(model)
    for name, group in groups.items():
        masks = _without(masks, group, (ranks[name] < threshold).nonzero()[:, 0])
    # What reads or makes only what is gone, is gone: as if the units were cut out.
    return Masks(effective_masks(model, input_shape, masks, "graph")) & masks


def _effective_threshold(
    model: nn.Module,
    ranks: Mapping[str, Tensor],
    groups: Groups,
    target: Target,
    input_shape: tuple[int, ...],
    effective_type: str,
    first: int,
) -> int:
    own = prunable(model)
    last = sum(map(len, ranks.values())) + 1
    of_weights = {name: torch.full(mask.shape, last, dtype=torch.int32) * mask.cpu() for name, (_, mask) in own.items()}
    for name, group in groups.items():
        for member in group:
            shape = [-1, *[1] * (of_weights[member].dim() - 1)]
            of_weights[member] = torch.minimum(of_weights[member], ranks[name].to(torch.int32).reshape(shape))
    device = next(model.parameters()).device
    flow = propagate_ranks(
        model, {name: rank.to(device) for name, rank in of_weights.items()}, input_shape, effective_type
    )
    effective = torch.cat([rank.flatten() for rank in flow.effective.values()])
    kept = target.kept(effective.numel())
    available = int((effective > 0).sum())
    if kept > available:
        reached = (Decimal(1) - Decimal(available) / effective.numel()).quantize(Decimal("1e-6"), ROUND_CEILING)
        raise UserError(
            f"{kept} of {effective.numel()} weights cannot be kept: the network has only {available} effective ones to "
            f"begin with; ask for an effective sparsity of at least {reached}"
        )
    # The best unit of each group stays, even where fewer weights would do.
    return min(first, int(effective.kthvalue(effective.numel() - kept + 1).values))


def _unit_ranks(scores: Mapping[str, Tensor], is_open: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Places of all units in the order in which they go, from 1 on: first gone ones, last the best of each group."""
    flat = {}
    for name, score in scores.items():
        tier = is_open[name].cpu().double()
        best = int(torch.where(tier > 0, score.cpu(), -torch.inf).argmax())
        tier[best] += 1
        flat[name] = (tier, score.cpu().double())
    tiers, values = (torch.cat([pair[part] for pair in flat.values()]) for part in (0, 1))
    order = descending_order(values)
    order = order[descending_order(tiers[order])]
    ranks = torch.empty(len(order), dtype=torch.int64)
    ranks[order] = torch.arange(len(order), 0, -1)
    return dict(zip(flat, ranks.split([len(score) for score in scores.values()]), strict=True))


def _without(masks: Masks, group: tuple[str, ...], units: Tensor) -> Masks:
    """Masks without the rows of some units, their biases, too."""
    changed = {name: mask.clone() for name, mask in masks.items()}
    for member in group:
        for name in (member, f"{member.removesuffix('weight')}bias"):
            if name in changed:
                changed[name][units.to(changed[name].device)] = False
    return Masks(changed)
