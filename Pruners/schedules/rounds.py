"""Rounds: prune in several rounds of scoring, and return the resulting order of all weights."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn
from tqdm import tqdm

from Layers import prunable
from Utils.config.target import Target
from Utils.connectivity.effective import check_scores
from Utils.topk import strongest, weakest

_STALE = 0.25
"""Share of pruned entries above which the list of unpruned entries is compacted: rarely, as that costs a pass."""

Score = Callable[[], Mapping[str, Tensor]]
"""Returns scores of the network with its current masks."""

Schedule = Callable[[float, float], float]
"""Maps the target's density and the fraction of completed rounds to the density after them."""


def budgets(target: Target, total: int, rounds: int, schedule: Schedule) -> list[int]:
    """Number of `total` weights to keep after each round; the last equals the target's count."""
    densities = (schedule(target.density, step / rounds) for step in range(1, rounds))
    return [*(total - int(total - total * density) for density in densities), target.kept(total)]


def prune_in_rounds(model: nn.Module, score: Score, budget: list[int], label: str = "") -> dict[str, Tensor]:
    """Score the kept weights, prune the weakest down to the next number in `budget`, and repeat.

    The model's masks change. Returns each weight's position in the pruning order (0 is pruned first): first the entries
    pruned from the start, then those of each round from the weakest on, then the survivors by their last scores.
    """
    masks = {name: mask for name, (_, mask) in prunable(model).items()}
    unpruned = _UnprunedEntries(masks)
    order = [unpruned.initially_pruned()]
    scores: Mapping[str, Tensor] = {}
    with _bar(budget, label) as bar:
        for keep in bar:
            scores = score()
            check_scores(prunable(model), scores, is_finite=False)
            current = unpruned.scores(scores)
            pruned = unpruned.prune(weakest(current, max(0, unpruned.count - keep)))
            order.append(pruned)
            _mask(masks, pruned)
            bar.set_postfix(kept=unpruned.count, refresh=False)
    current = unpruned.scores(scores)
    order.append(unpruned.prune(weakest(current, unpruned.count)))
    total = sum(mask.numel() for mask in masks.values())
    positions = torch.empty(total, dtype=torch.float64, device=order[0].device)
    positions[torch.cat(order)] = torch.arange(total, dtype=torch.float64, device=positions.device)
    return _split(positions, masks)


class _UnprunedEntries:
    """Entries not pruned yet, as flat indices into the concatenation of all parameters."""

    def __init__(self, masks: Mapping[str, Tensor]) -> None:
        kept = torch.cat([mask.reshape(-1) for mask in masks.values()])
        self.sizes = {name: mask.numel() for name, mask in masks.items()}
        self.listed: Tensor | None = None
        """Flat indices in ascending order, including the stale ones; None: all entries."""
        self.total = len(kept)
        self.stale = (~kept).nonzero()[:, 0]
        """Pruned entries that are still listed, as indices into `listed`; removed once they are many."""

    @property
    def count(self) -> int:
        """The number of unpruned entries."""
        return (self.total if self.listed is None else len(self.listed)) - len(self.stale)

    def initially_pruned(self) -> Tensor:
        """Flat indices of the entries pruned from the start; valid before the first call of `prune`."""
        return self.stale

    def scores(self, scores: Mapping[str, Tensor]) -> Tensor:
        """Scores of the listed entries, with infinity for stale ones; raises `ValueError` if they are not finite."""
        parts = [scores[name].detach().reshape(-1) for name in self.sizes]
        if self.listed is not None:
            ends = torch.searchsorted(self.listed, _bounds(self.sizes, self.listed.device)).tolist()
            starts = _bounds(self.sizes, self.listed.device).tolist()
            parts = [
                part.index_select(0, self.listed[first:last] - start)
                for part, start, first, last in zip(parts, starts, ends, ends[1:], strict=False)
            ]
        flat = torch.cat(parts)
        flat[self.stale] = 0
        # The sum is cheap and finite almost always; a finite sum proves finite scores.
        if not bool(torch.isfinite(flat.sum())) and not bool(torch.isfinite(flat).all()):
            raise ValueError("scores are not finite")
        flat[self.stale] = torch.inf
        return flat

    def prune(self, indices: Tensor) -> Tensor:
        """Prune entries, given as indices into the result of `scores`; returns their flat indices."""
        pruned = indices if self.listed is None else self.listed[indices]
        self.stale = torch.cat([self.stale, indices])
        known = self.total if self.listed is None else len(self.listed)
        if len(self.stale) > known * _STALE:
            remaining = torch.ones(known, dtype=torch.bool, device=indices.device).index_fill_(0, self.stale, False)
            self.listed = remaining.nonzero()[:, 0] if self.listed is None else self.listed[remaining]
            self.stale = self.stale[:0]
        return pruned


def regrow_in_rounds(model: nn.Module, score: Score, budget: list[int], label: str = "") -> dict[str, Tensor]:
    """Score all entries unpruned at the start, keep the best up to the next number in `budget`, and repeat.

    A round may restore entries pruned by an earlier round. The model's masks change. Returns the last scores, whose
    order has the last round's mask as a prefix.
    """
    masks = {name: mask for name, (_, mask) in prunable(model).items()}
    unpruned = torch.cat([mask.reshape(-1) for mask in masks.values()])
    scores: Mapping[str, Tensor] = {}
    with _bar(budget, label) as bar:
        for keep in bar:
            scores = score()
            check_scores(prunable(model), scores)
            flat = torch.cat([scores[name].detach().reshape(-1) for name in masks]).masked_fill(~unpruned, -torch.inf)
            for name, part in _split(strongest(flat, min(keep, int(unpruned.sum()))), masks).items():
                masks[name].copy_(part)
            bar.set_postfix(kept=keep, refresh=False)
    return dict(scores)


def _bar(budget: list[int], label: str) -> tqdm:
    """Progress bar over the rounds, shown on a terminal after two seconds."""
    return tqdm(budget, desc=f"pruning {label}", unit="round", leave=False, disable=None, delay=2, dynamic_ncols=True)


def _mask(masks: Mapping[str, Tensor], indices: Tensor) -> None:
    """Prune the entries with the given flat indices, in place."""
    sizes = {name: mask.numel() for name, mask in masks.items()}
    indices, bounds = indices.sort().values, _bounds(sizes, indices.device)
    ends = torch.searchsorted(indices, bounds).tolist()
    for mask, start, first, last in zip(masks.values(), bounds.tolist(), ends, ends[1:], strict=False):
        mask[torch.unravel_index(indices[first:last] - start, mask.shape)] = False


def _bounds(sizes: Mapping[str, int], device: torch.device) -> Tensor:
    """Flat index at which each parameter begins, and at which the last one ends."""
    return torch.tensor([0, *sizes.values()], device=device).cumsum(0)


def _split(flat: Tensor, masks: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A flat tensor split into one tensor per parameter, of the parameter's shape."""
    parts = flat.split([mask.numel() for mask in masks.values()])
    return {name: part.reshape(mask.shape) for (name, mask), part in zip(masks.items(), parts, strict=True)}
