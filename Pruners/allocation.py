"""Allocation: turns scores and a target sparsity into masks."""

from collections.abc import Mapping
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

import torch
from torch import Tensor, nn

from Layers import Masks, require_prunable
from Pruners.criteria.scores import Scores
from Utils.config.choices import PRUNING_TYPES
from Utils.config.target import Target
from Utils.connectivity.effective import check_scores, propagate_ranks, ranking
from Utils.errors import UserError
from Utils.topk import strongest


def allocate(
    model: nn.Module,
    scores: Mapping[str, Tensor],
    sparsity: Target | Decimal | float | str,
    input_shape: tuple[int, ...],
    pruning_type: str = "effective",
    effective_type: str = "exact",
) -> Masks:
    """Direct masks that keep the weights with the highest scores.

    Of N prunable weights, `direct` keeps exactly K = N - floor(sparsity N). `effective` keeps the shortest prefix of
    the order with at least K effective weights; an exact K may be impossible, because weights behind one bottleneck
    become effective together. Masks of a higher sparsity are subsets of those of a lower one. `input_shape` excludes
    the batch. Raises `UserError` with the feasible sparsity if the target cannot be reached. (Vysogorets & Kempe 2023,
    without its bisection.)
    """
    if pruning_type not in PRUNING_TYPES:
        raise UserError(f"unknown pruning type {pruning_type!r} (valid: {', '.join(PRUNING_TYPES)})")
    target = Target.of(sparsity)
    if pruning_type == "direct":
        masks = _direct_masks(model, scores, target)
        _check_fixed(scores, masks, "direct", 1 - _fixed(scores) / masks.total)
        return masks
    ranks = ranking(model, scores)
    effective = _flat(propagate_ranks(model, ranks, input_shape, effective_type).effective)
    total, kept = effective.numel(), target.kept(effective.numel())
    _check_available(kept, int((effective > 0).sum()), total, "effective")
    threshold = effective.kthvalue(total - kept + 1).values
    masks = Masks({name: rank >= threshold for name, rank in ranks.items()})
    # One weight more than the number effective when all but one of the fixed weights are kept: from here on,
    # every target keeps all fixed weights.
    least = int((effective > total - _fixed(scores) + 1).sum()) + 1
    _check_fixed(scores, masks, "effective", 1 - least / total)
    return masks


def _direct_masks(model: nn.Module, scores: Mapping[str, Tensor], target: Target) -> Masks:
    """Masks of the K entries with the highest scores, found by selection rather than a sort."""
    parameters = require_prunable(model)
    check_scores(parameters, scores)
    unpruned = _flat({name: mask for name, (_, mask) in parameters.items()})
    kept = target.kept(unpruned.numel())
    _check_available(kept, int(unpruned.sum()), unpruned.numel(), "direct")
    flat = _flat({name: scores[name].detach() for name in parameters})
    if not flat.is_floating_point():
        flat = flat.double()
    if not bool(unpruned.all()):
        flat = flat.masked_fill(~unpruned, -torch.inf)
    parts = strongest(flat, kept).split([mask.numel() for _, mask in parameters.values()])
    return Masks({name: part.reshape(scores[name].shape) for name, part in zip(parameters, parts, strict=True)})


def _check_available(kept: int, available: int, total: int, pruning_type: str) -> None:
    """Raise `UserError` if fewer than `kept` weights are available."""
    if kept > available:
        kind = "effective" if pruning_type == "effective" else "unpruned"
        raise UserError(
            f"{kept} of {total} weights cannot be kept: the network has only {available} {kind} ones to begin with, "
            f"{pruning_type} sparsity {rounded(1 - available / total, ROUND_CEILING)}; ask for at least that"
        )


def _check_fixed(scores: Mapping[str, Tensor], masks: Masks, pruning_type: str, highest: float) -> None:
    """Raise `UserError` if the masks keep fewer weights than the quota fixes."""
    if masks.kept >= _fixed(scores):
        return
    assert isinstance(scores, Scores)
    layer, count = max(scores.fixed.items(), key=lambda item: item[1])
    raise UserError(
        f"{_fixed(scores)} of {masks.total} weights may not be pruned, {count} of them in {layer}, so the highest "
        f"{pruning_type} sparsity is {rounded(highest, ROUND_FLOOR)}; ask for at most that, or use another quota"
    )


def _fixed(scores: Mapping[str, Tensor]) -> int:
    """The number of entries that the quota fixes."""
    return sum(scores.fixed.values()) if isinstance(scores, Scores) else 0


def _flat(tensors: Mapping[str, Tensor]) -> Tensor:
    """All tensors flattened into one, in order."""
    return torch.cat([tensor.reshape(-1) for tensor in tensors.values()])


def rounded(value: float, direction: str) -> str:
    """A sparsity to eight decimals, rounded in the direction that keeps it feasible."""
    return format(Decimal(repr(value)).quantize(Decimal("1e-8"), direction).normalize(), "f")
