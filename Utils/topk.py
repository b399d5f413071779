"""Exact selection by score: sort order, weakest and strongest entries, with ties broken by position."""

import numpy as np
import torch
from torch import Tensor

_SAMPLE = 1 << 16
"""Scores sampled to guess a threshold before the exact one is computed; a bad guess costs time, not exactness."""


def descending_order(scores: Tensor) -> Tensor:
    """Indices (n,) that sort finite scores (n,) from high to low; ties keep their order."""
    if scores.device.type != "cpu":
        return torch.sort(scores, descending=True, stable=True).indices
    # NumPy's unstable sort is vectorised. Even with the repair of ties below, it takes less than half the time of a
    # stable sort for the weights of LeNet-300-100.
    scores = scores.detach()
    negative = -(scores.float() if scores.dtype == torch.bfloat16 else scores).numpy()
    order = np.argsort(negative)
    ordered = negative[order]
    is_same = ordered[1:] == ordered[:-1]
    if is_same.any():
        tied = np.zeros(len(order), dtype=bool)
        tied[1:] |= is_same
        tied[:-1] |= is_same
        group = np.cumsum(np.concatenate([[True], ~is_same]))[tied]
        # One sort of (group of ties, index) pairs, packed into single integers; both numbers are below 2^31.
        order[tied] = np.sort(group << 32 | order[tied]) & 0xFFFFFFFF
    return torch.from_numpy(order)


def weakest(scores: Tensor, count: int) -> Tensor:
    """Indices (count,) of the `count` lowest scores (n,), lowest first; of equal scores the later is weaker."""
    if count == 0:
        return torch.zeros(0, dtype=torch.long, device=scores.device)
    # Only candidates are searched and sorted: over many rounds, that is about once per entry.
    candidates = (scores <= _guess(scores, count)).nonzero()[:, 0]
    if len(candidates) < count:
        candidates = torch.arange(len(scores), device=scores.device)
    values = scores[candidates]
    candidates = candidates[values <= values.kthvalue(count).values]
    order = descending_order(scores[candidates])
    return candidates[order[len(candidates) - count :]].flip(0)


def strongest(scores: Tensor, count: int) -> Tensor:
    """Bool mask (n,) of the `count` highest scores (n,); of equal scores the earlier is stronger."""
    if count == 0:
        return torch.zeros_like(scores, dtype=torch.bool)
    negative = -scores
    candidates = (negative <= _guess(negative, count)).nonzero()[:, 0]
    values = negative[candidates] if len(candidates) >= count else negative
    threshold = -values.kthvalue(count).values
    kept = scores > threshold
    tied = (scores == threshold).nonzero()[:, 0]
    kept[tied[: count - int(kept.sum())]] = True
    return kept


def _guess(scores: Tensor, count: int) -> Tensor:
    """A threshold with, very likely, at least `count` scores at or below it, and few more."""
    step = max(1, len(scores) // _SAMPLE)
    sample = scores[::step]
    share = count / len(scores)
    margin = 4 * (share * (1 - share) / len(sample)) ** 0.5
    rank = min(len(sample), int((share + margin) * len(sample)) + 1)
    return sample.kthvalue(rank).values
