"""Which weights are kept, given scores and a target?"""

from collections.abc import Mapping
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

import torch
from torch import Tensor, nn

from Layers import Masks, prunable
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
    """The direct masks that keep the best weights.

    `direct` keeps exactly K = N - floor(sparsity N). `effective` keeps the fewest of the order's best weights of which
    at least K are effective: as weights behind one bottleneck become effective together, no prefix of the order may
    have exactly K. Masks are nested in the target. Raises `UserError` if the target cannot be reached, and says what
    can. `input_shape` is without the batch. (Vysogorets & Kempe 2023, without its bisection.)
    """
    if pruning_type not in PRUNING_TYPES:
        raise UserError(f"unknown pruning type {pruning_type!r} (valid: {', '.join(PRUNING_TYPES)})")
    target = Target.of(sparsity)
    if pruning_type == "direct":
        masks = _best(model, scores, target)
        _check_fixed(scores, masks, "direct", 1 - _fixed(scores) / masks.total)
        return masks
    ranks = ranking(model, scores)
    effective = _flat(propagate_ranks(model, ranks, input_shape, effective_type).effective)
    total, kept = effective.numel(), target.kept(effective.numel())
    _check_available(kept, int((effective > 0).sum()), total, "effective")
    threshold = effective.kthvalue(total - kept + 1).values
    masks = Masks({name: rank >= threshold for name, rank in ranks.items()})
    # With one weight fewer than the fixed ones so many are effective; asking for more keeps all fixed ones.
    least = int((effective > total - _fixed(scores) + 1).sum()) + 1
    _check_fixed(scores, masks, "effective", 1 - least / total)
    return masks


def _best(model: nn.Module, scores: Mapping[str, Tensor], target: Target) -> Masks:
    """The K entries of the highest scores, without sorting any."""
    parameters = prunable(model)
    check_scores(parameters, scores)
    is_open = _flat({name: mask for name, (_, mask) in parameters.items()})
    kept = target.kept(is_open.numel())
    _check_available(kept, int(is_open.sum()), is_open.numel(), "direct")
    flat = _flat({name: scores[name].detach() for name in parameters})
    if not flat.is_floating_point():
        flat = flat.double()
    if not bool(is_open.all()):
        flat = flat.masked_fill(~is_open, -torch.inf)
    parts = strongest(flat, kept).split([mask.numel() for _, mask in parameters.values()])
    return Masks({name: part.reshape(scores[name].shape) for name, part in zip(parameters, parts, strict=True)})


def _check_available(kept: int, available: int, total: int, pruning_type: str) -> None:
    if kept > available:
        kind = "effective" if pruning_type == "effective" else "unpruned"
        raise UserError(
            f"{kept} of {total} weights cannot be kept: the network has only {available} {kind} ones to begin with, "
            f"{pruning_type} sparsity {_rounded(1 - available / total, ROUND_CEILING)}; ask for at least that"
        )


def _check_fixed(scores: Mapping[str, Tensor], masks: Masks, pruning_type: str, highest: float) -> None:
    """Raise `UserError` if masks prune what a quota fixes."""
    if masks.kept >= _fixed(scores):
        return
    assert isinstance(scores, Scores)
    layer, most = max(scores.fixed.items(), key=lambda item: item[1])
    raise UserError(
        f"{_fixed(scores)} of {masks.total} weights may not be pruned, {most} of them in {layer}, so the highest "
        f"{pruning_type} sparsity is {_rounded(highest, ROUND_FLOOR)}; ask for at most that, or use another quota"
    )


def _fixed(scores: Mapping[str, Tensor]) -> int:
    return sum(scores.fixed.values()) if isinstance(scores, Scores) else 0


def _flat(tensors: Mapping[str, Tensor]) -> Tensor:
    return torch.cat([tensor.reshape(-1) for tensor in tensors.values()])


def _rounded(value: float, direction: str) -> str:
    """At least six digits, towards what is feasible."""
    return format(Decimal(repr(value)).quantize(Decimal("1e-8"), direction).normalize(), "f")
