"""Which weights are kept, given scores and a target?"""

from collections.abc import Mapping
from decimal import Decimal

import torch
from torch import Tensor, nn

from Layers import Masks
from Utils.connectivity import rank_flow, ranking
from Utils.errors import UserError
from Utils.settings import PRUNING_TYPES
from Utils.target import Target


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
    ranks = ranking(model, scores)
    order = ranks
    if pruning_type == "effective":
        order = rank_flow(model, ranks, input_shape, effective_type).effective
    flat = torch.cat([rank.reshape(-1) for rank in order.values()])
    total, kept = flat.numel(), Target.of(sparsity).kept(flat.numel())
    available = int((flat > 0).sum())
    if kept > available:
        kind = "effective" if pruning_type == "effective" else "unpruned"
        raise UserError(
            f"{kept} of {total} weights cannot be kept: the network has only {available} {kind} ones to begin with, "
            f"{pruning_type} sparsity {1 - available / total:.6g}; ask for at least that"
        )
    threshold = flat.kthvalue(total - kept + 1).values
    return Masks({name: rank >= threshold for name, rank in ranks.items()})
