"""How does a network stay whole: how is no layer left without an effective weight?"""

from collections.abc import Iterator, Mapping
from decimal import Decimal

import torch
from torch import Tensor, nn

from Pruners.allocation import allocate
from Pruners.criteria.scores import Scores
from Utils.config.target import Target
from Utils.connectivity.effective import effective_masks, empty_layers, propagate_ranks, ranking
from Utils.errors import UserError
from Utils.topk import strongest


def keep_alive(
    model: nn.Module,
    scores: Mapping[str, Tensor],
    sparsity: Target | Decimal | float | str,
    input_shape: tuple[int, ...],
    pruning_type: str = "effective",
    effective_type: str = "exact",
) -> Scores:
    """Scores for the same call of `allocate` that leave every layer an effective weight.

    For each layer that would be empty, the weights of one path through it go to the front of the order: the path whose
    weakest weight is the strongest. Totals stay exact. Raises `UserError` if the paths have more weights than may be
    kept, or a layer has no path in the unpruned network.
    """
    ranks = ranking(model, scores)
    total = sum(rank.numel() for rank in ranks.values())
    reserved = _fixed(scores, ranks)
    found = Scores(scores, getattr(scores, "fixed", None))
    while True:
        masks = allocate(model, found, sparsity, input_shape, pruning_type, effective_type)
        empty = empty_layers(effective_masks(model, input_shape, masks, effective_type))
        if not empty:
            return found
        path = _path(model, ranks, empty[0], input_shape, effective_type)
        reserved = {name: reserved[name] | path[name] for name in ranks}
        # Ranks reach the total, so adding it puts what is reserved before all else; sums are exact in float64.
        raised = {name: rank.double() + total * reserved[name] for name, rank in ranks.items()}
        found = Scores(raised, {name: int(mask.sum()) for name, mask in reserved.items()})


def _fixed(scores: Mapping[str, Tensor], ranks: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What a quota fixes already."""
    counts = scores.fixed if isinstance(scores, Scores) else {}
    return {
        name: strongest(rank.reshape(-1).double(), counts.get(name, 0)).reshape(rank.shape)
        for name, rank in ranks.items()
    }


def _path(
    model: nn.Module, ranks: Mapping[str, Tensor], layer: str, input_shape: tuple[int, ...], effective_type: str
) -> dict[str, Tensor]:
    """Bool tensors with the weights of one path through a layer, one in each layer that it goes through."""

    def effective(current: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return propagate_ranks(model, current, input_shape, effective_type).effective

    def is_alive(current: Mapping[str, Tensor]) -> bool:
        return bool((effective(current)[layer] > 0).any())

    best = int(effective(ranks)[layer].max())
    if best == 0:
        raise UserError(f"no weight of {layer} is effective even in the unpruned network, so it cannot be kept alive")
    current = {name: rank.masked_fill(rank < best, 0) for name, rank in ranks.items()}
    for name in [layer, *(other for other in ranks if other != layer)]:
        without = {**current, name: torch.zeros_like(current[name])}
        if name != layer and is_alive(without):
            current = without
            continue
        for chosen in _choices(effective(current)[name]):
            trial = {**current, name: current[name] * chosen}
            if is_alive(trial):
                current = trial
                if int(chosen.sum()) == 1:
                    break
    return {name: ranks_left > 0 for name, ranks_left in current.items()}


def _choices(effective: Tensor) -> Iterator[Tensor]:
    """Sets of entries to try one after the other: the best alone, then, where paths divide, each entry."""
    flat = effective.reshape(-1)
    for index in flat.argsort(descending=True, stable=True)[: int((flat > 0).sum())]:
        chosen = torch.zeros_like(flat, dtype=torch.bool)
        chosen[index] = True
        yield chosen.reshape(effective.shape)
