"""Rounding rules of supermasks: what the forward pass makes of scores, which scores are allowed, and their gradients.

Lists are in the order of the model. `free` has 1 where the mask may keep an entry, and 0 where the entry is frozen out.
Masks are numbers here: PyTorch's operations on bool tensors take up to seven times as long.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from Utils.topk import strongest


class Rounding:
    """Rule that turns scores into what weights are multiplied by."""

    has_changing_slopes = False
    """Whether the gradient depends on the scores, not only on weights and free entries."""
    is_soft = False
    """Whether weights are multiplied by the scores themselves."""

    def project(self, score: Tensor) -> None:
        """Move scores to allowed values, in place."""

    def round(self, scores: Sequence[Tensor], free: Sequence[Tensor], out: Sequence[Tensor]) -> None:
        """Write a factor for each weight, 0 where it is pruned."""
        raise NotImplementedError

    def value(self, score: Tensor) -> Tensor:
        """The score as it counts where scores are compared."""
        return score

    def slope(self, score: Tensor, weight: Tensor, free: Tensor, out: Tensor) -> None:
        """Write dL/dscore as a multiple of dL/d(weight x factor)."""
        torch.mul(weight, free, out=out)


class Threshold(Rounding):
    """Scores in [0, 1]; those above a threshold are kept, so that the threshold itself rounds to 0."""

    def __init__(self, threshold: float = 0.5, clamps_forward: bool = False, is_soft: bool = False) -> None:
        """`clamps_forward`: scores may leave [0, 1], where they have no gradient, instead of being moved back.

        `is_soft`: weights are multiplied by the scores themselves.
        """
        self.threshold, self.is_soft, self.has_changing_slopes = threshold, is_soft, clamps_forward

    def project(self, score: Tensor) -> None:
        """Clamp to [0, 1]."""
        if not self.has_changing_slopes:
            score.clamp_(0, 1)

    def value(self, score: Tensor) -> Tensor:
        """The score, clamped to [0, 1]."""
        return score.clamp(0, 1)

    def round(self, scores: Sequence[Tensor], free: Sequence[Tensor], out: Sequence[Tensor]) -> None:
        """1 for scores above the threshold; the scores if soft."""
        for score, is_free, factor in zip(scores, free, out, strict=True):
            if self.is_soft:
                torch.clamp(score, 0, 1, out=factor)
            else:
                torch.gt(score, self.threshold, out=factor)
            factor.mul_(is_free)

    def slope(self, score: Tensor, weight: Tensor, free: Tensor, out: Tensor) -> None:
        """Without a gradient where the forward pass clamps."""
        super().slope(score, weight, free, out)
        if self.has_changing_slopes:
            out.mul_((score >= 0) & (score <= 1))


class LayerTop(Rounding):
    """The largest absolute scores of each parameter are kept; of equal scores the earlier (edge-popup)."""

    has_changing_slopes = True

    def __init__(self, counts: Sequence[int]) -> None:
        self.counts = counts
        """Entries to keep, per parameter."""

    def round(self, scores: Sequence[Tensor], free: Sequence[Tensor], out: Sequence[Tensor]) -> None:
        """Keep the counts, or all free entries where there are fewer."""
        for score, is_free, factor, count in zip(scores, free, out, self.counts, strict=True):
            factor.copy_(_largest(_sizes(score, is_free), count).reshape(factor.shape)).mul_(is_free)

    def slope(self, score: Tensor, weight: Tensor, free: Tensor, out: Tensor) -> None:
        """With the sign of the score, since its absolute value is rounded."""
        torch.mul(weight, torch.sign(score), out=out).mul_(free)


class GlobalTop(LayerTop):
    """The largest absolute scores of all parameters together are kept; of equal scores the earlier."""

    def __init__(self, count: int) -> None:
        self.count = count
        """Entries to keep in all."""

    def round(self, scores: Sequence[Tensor], free: Sequence[Tensor], out: Sequence[Tensor]) -> None:
        """Keep the count, or all free entries if there are fewer."""
        sizes = torch.cat([_sizes(score, is_free) for score, is_free in zip(scores, free, strict=True)])
        parts = _largest(sizes, self.count).split([factor.numel() for factor in out])
        for part, is_free, factor in zip(parts, free, out, strict=True):
            factor.copy_(part.reshape(factor.shape)).mul_(is_free)


def _sizes(score: Tensor, free: Tensor) -> Tensor:
    """Absolute scores (n,), -inf where an entry is not free."""
    # Two and a half times as fast as `where`, and exact: a sum with the score would round small scores to ties.
    return torch.minimum(score.abs(), (free - 0.5) * torch.inf).reshape(-1)


def _largest(sizes: Tensor, count: int) -> Tensor:
    return strongest(sizes, min(count, len(sizes)))
