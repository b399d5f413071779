"""How are the kept weights shared out between layers?

Each quota replaces scores by new ones whose *global* order has the wanted shares, at every sparsity at once, so totals
are exact and masks are nested. Below, rho = 1, 2, ... is an entry's place in its own layer's order (1 = best) and n is
the layer's size; half a place is taken off so that each layer's count is the quota rounded, not rounded down.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from Utils.ordering import descending_order


def global_(scores: Mapping[str, Tensor], masks: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """No quota: scores of different layers compete as they are."""
    return dict(scores)


def uniform(scores: Mapping[str, Tensor], masks: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same density in every layer: -(rho - 1/2) / n."""
    return {name: -(_places(score, masks[name]) - 0.5) / score.numel() for name, score in scores.items()}


def erk(scores: Mapping[str, Tensor], masks: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Density min(1, kappa r), r = (sum of the shape) / n: -(rho - 1/2) / (n r).

    Erdos-Renyi-kernel of Evci et al. 2020 ("Rigging the lottery"), where layers that would be more than dense are made
    dense and kappa is solved again.
    """
    return {name: -(_places(score, masks[name]) - 0.5) / sum(score.shape) for name, score in scores.items()}


def igq(scores: Mapping[str, Tensor], masks: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Ideal gas quotas, density 1 / (F n + 1) with one F >= 0 for all layers: 1 / (rho - 1/2) - 1 / n.

    Vysogorets & Kempe 2023, "Connectivity matters".
    """
    return {name: 1 / (_places(score, masks[name]) - 0.5) - 1 / score.numel() for name, score in scores.items()}


def _places(scores: Tensor, mask: Tensor) -> Tensor:
    flat = scores.reshape(-1).double().masked_fill(~mask.reshape(-1), -torch.inf)
    order = descending_order(flat)
    places = torch.empty_like(flat)
    places[order] = torch.arange(1, len(flat) + 1, dtype=flat.dtype, device=flat.device)
    return places.reshape(scores.shape)
