"""In which order are scores, best first, and which are the best and the worst of them?"""

import numpy as np
import torch
from torch import Tensor

_SAMPLE = 1 << 16
"""Entries from which a threshold is guessed before it is found; a guess costs nothing but time."""


def descending_order(scores: Tensor) -> Tensor:
    """Indices (n,) that sort finite scores (n,) from high to low; of equal ones the first comes first."""
    if scores.device.type != "cpu":
        return torch.sort(scores, descending=True, stable=True).indices
    # NumPy's unstable sort is vectorised: with ties put right afterwards it takes less than half of a stable sort's
    # time for the weights of LeNet-300-100.
    scores = scores.detach()
    negative = -(scores.float() if scores.dtype == torch.bfloat16 else scores).numpy()
    order = np.argsort(negative)
    ordered = negative[order]
    is_same = ordered[1:] == ordered[:-1]
    if is_same.any():
        tied = np.zeros(len(order), dtype=bool)
        tied[1:] |= is_same
        tied[:-1] |= is_same
        run = np.cumsum(np.concatenate([[True], ~is_same]))[tied]
        # One sort of (run, index) pairs packed into single integers; there are fewer than 2^31 of either.
        order[tied] = np.sort(run << 32 | order[tied]) & 0xFFFFFFFF
    return torch.from_numpy(order)


def weakest(scores: Tensor, count: int) -> Tensor:
    """Indices of the `count` lowest of scores (n,), lowest first; of equal ones the later is weaker."""
    if count == 0:
        return torch.zeros(0, dtype=torch.long, device=scores.device)
    # Only what may be among them is searched and sorted: over many rounds that is each entry once.
    low = (scores <= _guess(scores, count)).nonzero()[:, 0]
    if len(low) < count:
        low = torch.arange(len(scores), device=scores.device)
    values = scores[low]
    low = low[values <= values.kthvalue(count).values]
    order = descending_order(scores[low])
    return low[order[len(low) - count :]].flip(0)


def strongest(scores: Tensor, count: int) -> Tensor:
    """Bool (n,): the `count` highest of scores (n,); of equal ones the first come first."""
    if count == 0:
        return torch.zeros_like(scores, dtype=torch.bool)
    high = -scores
    candidates = (high <= _guess(high, count)).nonzero()[:, 0]
    values = high[candidates] if len(candidates) >= count else high
    threshold = -values.kthvalue(count).values
    kept = scores > threshold
    tied = (scores == threshold).nonzero()[:, 0]
    kept[tied[: count - int(kept.sum())]] = True
    return kept


def _guess(scores: Tensor, count: int) -> Tensor:
    """A value that very likely at least `count` scores do not exceed, and not many more."""
    step = max(1, len(scores) // _SAMPLE)
    sample = scores[::step]
    share = count / len(scores)
    margin = 4 * (share * (1 - share) / len(sample)) ** 0.5
    place = min(len(sample), int((share + margin) * len(sample)) + 1)
    return sample.kthvalue(place).values
