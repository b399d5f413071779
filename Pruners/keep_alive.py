"""Protection from layer collapse: adjusts scores so that every layer keeps an effective weight."""

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
    """Scores with which `allocate`, called with the same arguments, leaves every layer an effective weight.

    For each layer that would be empty, the weights of one path through it move to the front of the order. The path is
    the one whose lowest-ranked weight ranks highest. Totals stay exact. Raises `UserError` if the paths need more
    weights than the target keeps, or if a layer has no path in the unpruned network.
    """
    ranks = ranking(model, scores)
    total = sum(rank.numel() for rank in ranks.values())
    reserved = _fixed(scores, ranks)
    adjusted = Scores(scores, getattr(scores, "fixed", None))
    while True:
        masks = allocate(model, adjusted, sparsity, input_shape, pruning_type, effective_type)
        empty = empty_layers(effective_masks(model, input_shape, masks, effective_type))
        if not empty:
            return adjusted
        path = _path(model, ranks, empty[0], input_shape, effective_type)
        reserved = {name: reserved[name] | path[name] for name in ranks}
        # Ranks reach the total, so adding it moves reserved weights before all others; the sums are exact in float64.
        raised = {name: rank.double() + total * reserved[name] for name, rank in ranks.items()}
        adjusted = Scores(raised, {name: int(mask.sum()) for name, mask in reserved.items()})


def _fixed(scores: Mapping[str, Tensor], ranks: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Bool tensors of the entries that the quota fixes."""
    counts = scores.fixed if isinstance(scores, Scores) else {}
    return {
        name: strongest(rank.reshape(-1).double(), counts.get(name, 0)).reshape(rank.shape)
        for name, rank in ranks.items()
    }


def _path(
    model: nn.Module, ranks: Mapping[str, Tensor], layer: str, input_shape: tuple[int, ...], effective_type: str
) -> dict[str, Tensor]:
    """Bool tensors of the weights on one path through `layer`, one weight in each layer on the path.

    Starts from all weights that rank at least as high as the best achievable bottleneck, and removes or thins out one
    layer after the other as long as `layer` keeps an effective weight.
    """

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
        for candidate in _single_entries(effective(current)[name]):
            trial = {**current, name: current[name] * candidate}
            if is_alive(trial):
                current = trial
                break
    return {name: rank > 0 for name, rank in current.items()}


def _single_entries(effective: Tensor) -> Iterator[Tensor]:
    """Yield a bool tensor with one entry for each effective entry, the highest-ranked first."""
    flat = effective.reshape(-1)
    for index in flat.argsort(descending=True, stable=True)[: int((flat > 0).sum())]:
        candidate = torch.zeros_like(flat, dtype=torch.bool)
        candidate[index] = True
        yield candidate.reshape(effective.shape)
