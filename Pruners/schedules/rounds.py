"""In which order do weights go that are scored and pruned in rounds?"""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn
from tqdm import tqdm

from Layers import prunable
from Utils.config.target import Target
from Utils.connectivity.effective import check_scores
from Utils.topk import strongest, weakest

_STALE = 0.25
"""Share of closed entries above which they are taken out of the list of open ones: rarely, since that costs a pass."""

Score = Callable[[], Mapping[str, Tensor]]
"""Scores a network as it is pruned at the moment."""

Schedule = Callable[[float, float], float]
"""From the target's density and the fraction of rounds done to the density after them."""


def budgets(target: Target, total: int, rounds: int, schedule: Schedule) -> list[int]:
    """How many of `total` weights are kept after each round; the last count is the target's own."""
    densities = (schedule(target.density, step / rounds) for step in range(1, rounds))
    return [*(total - int(total - total * density) for density in densities), target.kept(total)]


def prune_in_rounds(model: nn.Module, score: Score, budget: list[int], label: str = "") -> dict[str, Tensor]:
    """Score what is kept, prune the weakest of it down to the next number of `budget`, and so on.

    The model's masks change. Returns places in the order in which weights go (0 goes first): what the masks had pruned
    before, each round's weakest first, then the survivors by their last scores.
    """
    masks = {name: mask for name, (_, mask) in prunable(model).items()}
    open_entries = _Open(masks)
    order = [open_entries.closed()]
    scores: Mapping[str, Tensor] = {}
    with _bar(budget, label) as bar:
        for keep in bar:
            scores = score()
            check_scores(prunable(model), scores, is_finite=False)
            current = open_entries.scores(scores)
            gone = open_entries.close(weakest(current, max(0, open_entries.count - keep)))
            order.append(gone)
            _mask(masks, gone)
            bar.set_postfix(kept=open_entries.count, refresh=False)
    current = open_entries.scores(scores)
    order.append(open_entries.close(weakest(current, open_entries.count)))
    total = sum(mask.numel() for mask in masks.values())
    places = torch.empty(total, dtype=torch.float64, device=order[0].device)
    places[torch.cat(order)] = torch.arange(total, dtype=torch.float64, device=places.device)
    return _split(places, masks)


class _Open:
    """Entries that are not pruned yet, as places in all parameters put in line."""

    def __init__(self, masks: Mapping[str, Tensor]) -> None:
        kept = torch.cat([mask.reshape(-1) for mask in masks.values()])
        self.sizes = {name: mask.numel() for name, mask in masks.items()}
        self.places: Tensor | None = None
        """None: all. Rising; those in `gone` are closed already, and are taken out when they are many."""
        self.total = len(kept)
        self.gone = (~kept).nonzero()[:, 0]

    @property
    def count(self) -> int:
        """How many there are."""
        return (self.total if self.places is None else len(self.places)) - len(self.gone)

    def closed(self) -> Tensor:
        """The places that are pruned from the start."""
        return self.gone

    def scores(self, scores: Mapping[str, Tensor]) -> Tensor:
        """Their scores, and infinity for those closed since they were last taken out."""
        flat = [scores[name].detach().reshape(-1) for name in self.sizes]
        if self.places is not None:
            ends = torch.searchsorted(self.places, _bounds(self.sizes, self.places.device)).tolist()
            starts = _bounds(self.sizes, self.places.device).tolist()
            flat = [
                part.index_select(0, self.places[first:last] - start)
                for part, start, first, last in zip(flat, starts, ends, ends[1:], strict=False)
            ]
        found = torch.cat(flat)
        found[self.gone] = 0
        if not bool(torch.isfinite(found.sum())) and not bool(torch.isfinite(found).all()):
            raise ValueError("scores are not finite")
        found[self.gone] = torch.inf
        return found

    def close(self, indices: Tensor) -> Tensor:
        """Prune entries, given as indices of what `scores` returned; returns their places."""
        closed = indices if self.places is None else self.places[indices]
        self.gone = torch.cat([self.gone, indices])
        known = self.total if self.places is None else len(self.places)
        if len(self.gone) > known * _STALE:
            stays = torch.ones(known, dtype=torch.bool, device=indices.device).index_fill_(0, self.gone, False)
            self.places = stays.nonzero()[:, 0] if self.places is None else self.places[stays]
            self.gone = self.gone[:0]
        return closed


def regrow_in_rounds(model: nn.Module, score: Score, budget: list[int], label: str = "") -> dict[str, Tensor]:
    """Score everything that was open at first, keep the best of it up to the next number, and so on.

    What one round prunes the next may bring back. The model's masks change. Returns the last scores, whose order has
    the last round's mask as a prefix.
    """
    masks = {name: mask for name, (_, mask) in prunable(model).items()}
    is_open = torch.cat([mask.reshape(-1) for mask in masks.values()])
    scores: Mapping[str, Tensor] = {}
    with _bar(budget, label) as bar:
        for keep in bar:
            scores = score()
            check_scores(prunable(model), scores)
            flat = torch.cat([scores[name].detach().reshape(-1) for name in masks]).masked_fill(~is_open, -torch.inf)
            for name, part in _split(strongest(flat, min(keep, int(is_open.sum()))), masks).items():
                masks[name].copy_(part)
            bar.set_postfix(kept=keep, refresh=False)
    return dict(scores)


def _bar(budget: list[int], label: str) -> tqdm:
    return tqdm(budget, desc=f"pruning {label}", unit="round", leave=False, disable=None, delay=2, dynamic_ncols=True)


def _mask(masks: Mapping[str, Tensor], places: Tensor) -> None:
    sizes = {name: mask.numel() for name, mask in masks.items()}
    places, bounds = places.sort().values, _bounds(sizes, places.device)
    ends = torch.searchsorted(places, bounds).tolist()
    for mask, start, first, last in zip(masks.values(), bounds.tolist(), ends, ends[1:], strict=False):
        mask.view(-1)[places[first:last] - start] = False


def _bounds(sizes: Mapping[str, int], device: torch.device) -> Tensor:
    """Where each parameter begins when all are put in line, and where the last ends."""
    return torch.tensor([0, *sizes.values()], device=device).cumsum(0)


def _split(flat: Tensor, masks: Mapping[str, Tensor]) -> dict[str, Tensor]:
    parts = flat.split([mask.numel() for mask in masks.values()])
    return {name: part.reshape(mask.shape) for (name, mask), part in zip(masks.items(), parts, strict=True)}
