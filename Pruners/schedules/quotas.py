"""Quotas: re-score weights so that each layer keeps a prescribed share.

A quota replaces scores by new ones whose *global* order yields the prescribed shares at every sparsity, so totals are
exact and masks are nested. Below, rho = 1, 2, ... is an entry's position in its layer's order (1 = best) and n is the
layer's size. The 1/2 subtracted from rho makes each layer's count the quota rounded to nearest, not rounded down.
"""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from Pruners.criteria.scores import Scores
from Utils.errors import UserError
from Utils.topk import descending_order

_LAST = 0.2
"""Density that `uniform_plus` reserves for the last layer."""


def global_(scores: Mapping[str, Tensor], masks: Mapping[str, Tensor]) -> Scores:
    """No quota: scores of different layers compete unchanged."""
    return Scores(scores)


def uniform(scores: Mapping[str, Tensor], masks: Mapping[str, Tensor]) -> Scores:
    """The same density in every layer: -(rho - 1/2) / n."""
    return _by_position(scores, masks, lambda rho, score: -(rho - 0.5) / score.numel())


def uniform_plus(scores: Mapping[str, Tensor], masks: Mapping[str, Tensor]) -> Scores:
    """Uniform, except that the first layer stays dense and the last layer keeps at least a fifth of its weights.

    These weights are fixed and score highest. Gale et al. 2019 ("The state of sparsity in deep neural networks").
    Raises `UserError` like `check_uniform_plus`.
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
    """Raise `UserError` if a network has fewer than three layers or its first layer is not a convolution."""
    kernels = [score.dim() for score in scores.values() if score.dim() > 1]
    is_convolution = bool(kernels) and kernels[0] == 4
    if len(kernels) < 3 or not is_convolution:
        raise UserError(
            "quota uniform_plus keeps the first convolution and a fifth of the last layer; this network has "
            f"{len(kernels)} layers, the first of which is {'a' if is_convolution else 'no'} convolution: use uniform"
        )


def erk(scores: Mapping[str, Tensor], masks: Mapping[str, Tensor]) -> Scores:
    """Density min(1, kappa r), r = (sum of the shape) / n: -(rho - 1/2) / (n r).

    Erdos-Renyi kernel of Evci et al. 2020 ("Rigging the lottery"): a layer with a density above 1 is made dense, and
    kappa is solved again for the others.
    """
    return _by_position(scores, masks, lambda rho, score: -(rho - 0.5) / sum(score.shape))


def igq(scores: Mapping[str, Tensor], masks: Mapping[str, Tensor]) -> Scores:
    """Ideal gas quotas: density 1 / (F n + 1) with one F >= 0 for all layers; scores 1 / (rho - 1/2) - 1 / n.

    Vysogorets & Kempe 2023, "Connectivity matters".
    """
    return _by_position(scores, masks, lambda rho, score: 1 / (rho - 0.5) - 1 / score.numel())


def per_unit(scores: Mapping[str, Tensor], masks: Mapping[str, Tensor]) -> Scores:
    """The same density in every unit (row of a linear layer, filter of a convolution) of every layer.

    Filter-balanced pruning of DwaraknathT/sparsity: the best weight of each unit comes first, then the second of each.
    """
    return uniform({name: _by_position_in_unit(score, masks[name]) for name, score in scores.items()}, masks)


def transfer(scores: Mapping[str, Tensor], masks: Mapping[str, Tensor], source: Mapping[str, Tensor]) -> Scores:
    """Scores with the order of this criterion and the share per layer of another criterion's scores, `source`.

    A layer's positions in the source's global order, which are distinct, are assigned to its entries in their order.
    """
    names = list(scores)
    flat, unpruned = (torch.cat([tensors[name].reshape(-1) for name in names]) for tensors in (source, masks))
    global_scores = -positions_in_layer(flat, unpruned)
    transferred = {}
    for name, part in zip(names, global_scores.split([scores[name].numel() for name in names]), strict=True):
        ordered = part.sort(descending=True).values
        order = best_first(scores[name], masks[name])
        transferred[name] = torch.empty_like(part).index_copy_(0, order, ordered).reshape(scores[name].shape)
    return Scores(transferred)


def _by_position(
    scores: Mapping[str, Tensor], masks: Mapping[str, Tensor], function: Callable[[Tensor, Tensor], Tensor]
) -> Scores:
    """Scores `function(rho, scores of the layer)` for each layer."""
    return Scores({name: function(positions_in_layer(score, masks[name]), score) for name, score in scores.items()})


def best_first(scores: Tensor, mask: Tensor) -> Tensor:
    """Flat indices, best first; pruned entries come last."""
    return descending_order(scores.reshape(-1).double().masked_fill(~mask.reshape(-1), -torch.inf))


def positions_in_layer(scores: Tensor, mask: Tensor) -> Tensor:
    """rho of every entry, float64, in the shape of the scores."""
    order = best_first(scores, mask)
    positions = torch.empty(len(order), dtype=torch.float64, device=scores.device)
    positions[order] = torch.arange(1, len(order) + 1, dtype=torch.float64, device=scores.device)
    return positions.reshape(scores.shape)


def _by_position_in_unit(scores: Tensor, mask: Tensor) -> Tensor:
    """Scores that order entries by their position within their unit, then by their position within the layer."""
    if scores.dim() < 2:
        return scores
    positions = positions_in_layer(scores, mask).flatten(1)
    positions_in_unit = positions.argsort(1).argsort(1)
    return -(positions_in_unit * scores.numel() + positions).reshape(scores.shape)
