"""Order: the ranks by which a pruner removes the weights of a network, and their effective ranks, from one pass."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from Experiments.common.trial import Trial
from Pruners.allocation import allocate
from Utils import randomness
from Utils.config.target import Target
from Utils.connectivity.effective import dead_units, propagate_ranks, ranking


@dataclass(frozen=True)
class Order:
    """The order of N weights, which determines the network at every direct compression.

    If the K best weights are kept, a weight is kept if its rank is at least `threshold(K)`, and effective if its
    effective rank is.
    """

    ranks: Mapping[str, Tensor]
    """From N, the best weight, to 1, by prunable parameter."""
    effective: Mapping[str, Tensor]
    """Effective ranks; 0 for a weight on no path of the unpruned network."""
    hidden_layers: tuple[str, ...]
    """Parameters whose rows are hidden units."""
    path: int
    """The least number of weights to keep that leaves a path from input to output."""

    @classmethod
    def of(cls, model: nn.Module, scores: Mapping[str, Tensor], input_shape: tuple[int, ...]) -> Order:
        """The order of a network by scores; `input_shape` excludes the batch axis."""
        ranks = ranking(model, scores)
        passes = propagate_ranks(model, ranks, input_shape)
        hidden = tuple(dead_units(passes.effective, passes.output_layers))
        total = sum(rank.numel() for rank in ranks.values())
        return cls(ranks, passes.effective, hidden, max(0, total - passes.output + 1))

    @property
    def total(self) -> int:
        """N, the number of prunable weights."""
        return sum(rank.numel() for rank in self.ranks.values())

    def threshold(self, kept: int) -> int:
        """The lowest rank that is kept if the `kept` best weights are."""
        return self.total - kept + 1

    def needed(self) -> dict[str, int]:
        """For each layer, the least number of weights to keep in the network that leaves one in the layer."""
        return {name: self.total - int(rank.max()) + 1 for name, rank in self.ranks.items()}

    def unit_ranks(self) -> Tensor:
        """The highest effective rank into each hidden unit (units,): a unit is dead at every higher threshold."""
        best = [self.effective[name].flatten(1).amax(1) for name in self.hidden_layers]
        return torch.cat(best) if best else torch.zeros(0, dtype=torch.int32)


def order_of(trial: Trial, target: Target) -> Order:
    """The order of the network of a trial by its pruner, which single-shot pruning to the target has, too.

    Raises `UserError` if the quota of the pruner fixes more weights than the target keeps.
    """
    started = time.perf_counter()
    generator = randomness.generator(trial.settings.run.sample, "random scores")
    scores = trial.pruner.scores(trial.model, target, generator)
    shape = trial.data.input_shape
    allocate(trial.model, scores, target, shape, "direct")  # refuses what the quota cannot reach
    order = Order.of(trial.model, scores, shape)
    trial.prune_seconds += time.perf_counter() - started
    return order
