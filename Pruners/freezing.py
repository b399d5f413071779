"""Freezing of a mask search: which entries are frozen out, exactly as many as asked for."""

from collections.abc import Mapping

import torch
from torch import Tensor

from Layers import Masks
from Pruners.schedules.freezing import frozen_count


def freeze_weakest(
    scores: Mapping[str, Tensor], free: Masks, rate: float, generator: torch.Generator, per_layer: bool = False
) -> Masks:
    """The entries left free after freezing out ceil(rate n) of n: those with the smallest absolute scores.

    Of all parameters together, or `per_layer`, of each parameter. Exact: of equal scores at the threshold, many of
    which are 0, the generator chooses.
    """
    if per_layer:
        return Masks({name: _without_weakest(scores[name], free[name], rate, generator) for name in free})
    flat_scores, flat_free = (torch.cat([tensors[name].flatten() for name in free]) for tensors in (scores, free))
    left = _without_weakest(flat_scores, flat_free, rate, generator)
    parts = left.split([mask.numel() for mask in free.values()])
    return Masks({name: part.reshape(free[name].shape) for name, part in zip(free, parts, strict=True)})


def _without_weakest(scores: Tensor, free: Tensor, rate: float, generator: torch.Generator) -> Tensor:
    count = frozen_count(int(free.sum()), rate)
    if count == 0:
        return free.clone()
    sizes = scores.abs().masked_fill(~free, torch.inf)
    threshold = sizes.flatten().kthvalue(count).values
    tied = (sizes.flatten() == threshold).nonzero()[:, 0]
    surplus = count - int((sizes < threshold).sum())
    chosen = torch.randperm(len(tied), generator=generator)[:surplus].to(tied.device)
    left = (free & (sizes >= threshold)).flatten()
    left[tied[chosen]] = False
    return left.reshape(free.shape)
