"""How are the kept weights shared out between layers?

Each quota replaces scores by new ones whose *global* order has the wanted shares, at every sparsity at once, so totals
are exact and masks are nested. Below, rho = 1, 2, ... is an entry's place in its own layer's order (1 = best) and n is
the layer's size; half a place is taken off so that each layer's count is the quota rounded, not rounded down.
"""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from Pruners.criteria.scores import Scores
from Utils.errors import UserError
from Utils.topk import descending_order

_LAST = 0.2
"""Density below which `uniform_plus` prunes nothing of the last layer."""


def global_(scores: Mapping[str, Tensor], masks: Mapping[str, Tensor]) -> Scores:
    """No quota: scores of different layers compete as they are."""
    return Scores(scores)


def uniform(scores: Mapping[str, Tensor], masks: Mapping[str, Tensor]) -> Scores:
    """The same density in every layer: -(rho - 1/2) / n."""
    return _by_place(scores, masks, lambda place, score: -(place - 0.5) / score.numel())


def uniform_plus(scores: Mapping[str, Tensor], masks: Mapping[str, Tensor]) -> Scores:
    """Uniform, but the first layer stays dense and the last keeps a fifth at least; those are fixed and go last.

    Gale et al. 2019 ("The state of sparsity in deep neural networks"). Raises `UserError` for networks of fewer than
    three layers or whose first is no convolution.
    """
    check_uniform_plus(scores)
    kernels = [name for name, score in scores.items() if score.dim() > 1]
    shares = {kernels[0]: 1.0, kernels[-1]: _LAST}
    plain = uniform(scores, masks)
    is_fixed = {name: plain[name] >= -share for name, share in shares.items()}
    raised = {name: plain[name] + fixed for name, fixed in is_fixed.items()}
    fixed = {name: int((mask & masks[name]).sum()) for name, mask in is_fixed.items()}
    return Scores({**plain, **raised}, fixed)


def check_uniform_plus(scores: Mapping[str, Tensor]) -> None:
    """Raise `UserError` for a network of fewer than three layers or whose first is no convolution."""
    kernels = [score.dim() for score in scores.values() if score.dim() > 1]
    is_convolution = bool(kernels) and kernels[0] == 4
    if len(kernels) < 3 or not is_convolution:
        raise UserError(
            "quota uniform_plus keeps the first convolution and a fifth of the last layer; this network has "
            f"{len(kernels)} layers, the first of which is {'a' if is_convolution else 'no'} convolution: use uniform"
        )


def erk(scores: Mapping[str, Tensor], masks: Mapping[str, Tensor]) -> Scores:
    """Density min(1, kappa r), r = (sum of the shape) / n: -(rho - 1/2) / (n r).

    Erdos-Renyi-kernel of Evci et al. 2020 ("Rigging the lottery"), where layers that would be more than dense are made
    dense and kappa is solved again.
    """
    return _by_place(scores, masks, lambda place, score: -(place - 0.5) / sum(score.shape))


def igq(scores: Mapping[str, Tensor], masks: Mapping[str, Tensor]) -> Scores:
    """Ideal gas quotas, density 1 / (F n + 1) with one F >= 0 for all layers: 1 / (rho - 1/2) - 1 / n.

    Vysogorets & Kempe 2023, "Connectivity matters".
    """
    return _by_place(scores, masks, lambda place, score: 1 / (place - 0.5) - 1 / score.numel())


def per_unit(scores: Mapping[str, Tensor], masks: Mapping[str, Tensor]) -> Scores:
    """The same density in every unit (row of a dense layer, filter of a convolution) of every layer.

    The filter-balanced pruning of DwaraknathT/sparsity: the best of each unit come first, then each one's second, ...
    """
    return uniform({name: _by_level(score, masks[name]) for name, score in scores.items()}, masks)


def transfer(scores: Mapping[str, Tensor], masks: Mapping[str, Tensor], source: Mapping[str, Tensor]) -> Scores:
    """The shares that another criterion's scores give each layer, in this criterion's order.

    Each layer gets the places that it has in the source's global order, all different, dealt out in its own order.
    """
    names = list(scores)
    flat, is_open = (torch.cat([values[name].reshape(-1) for name in names]) for values in (source, masks))
    places = -_places(flat, is_open)
    taken = {}
    for name, part in zip(names, places.split([scores[name].numel() for name in names]), strict=True):
        best_first = part.sort(descending=True).values
        own = _order(scores[name], masks[name])
        taken[name] = torch.empty_like(part).index_copy_(0, own, best_first).reshape(scores[name].shape)
    return Scores(taken)


def _by_place(
    scores: Mapping[str, Tensor], masks: Mapping[str, Tensor], value: Callable[[Tensor, Tensor], Tensor]
) -> Scores:
    return Scores({name: value(_places(score, masks[name]), score) for name, score in scores.items()})


def _order(scores: Tensor, mask: Tensor) -> Tensor:
    """Flat indices, best first; what is pruned already comes last."""
    return descending_order(scores.reshape(-1).double().masked_fill(~mask.reshape(-1), -torch.inf))


def _places(scores: Tensor, mask: Tensor) -> Tensor:
    """rho of every entry."""
    order = _order(scores, mask)
    places = torch.empty(len(order), dtype=torch.float64, device=scores.device)
    places[order] = torch.arange(1, len(order) + 1, dtype=torch.float64, device=scores.device)
    return places.reshape(scores.shape)


def _by_level(scores: Tensor, mask: Tensor) -> Tensor:
    """Scores that rank an entry by its place in its own unit, and equal places as they were ranked in the layer."""
    if scores.dim() < 2:
        return scores
    places = _places(scores, mask).flatten(1)
    levels = places.argsort(1).argsort(1)
    return -(levels * scores.numel() + places).reshape(scores.shape)
