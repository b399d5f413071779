"""Pruner of a run: scores networks, and finds masks that reach a target in the unit and the way of its settings."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from Layers import Masks
from Pruners import make_pruner, registry
from Pruners.allocation import allocate
from Pruners.criteria.scores import Scores
from Pruners.keep_alive import keep_alive
from Pruners.units import allocate_units, groups_of, open_units, score_units
from Utils.config.choices import DENSE
from Utils.config.groups import Pruning
from Utils.config.target import Target
from Utils.data.dataset import Data


def quota_options(pruning: Pruning) -> dict[str, Any]:
    """The values of flags that only the quota of the run's pruner takes."""
    return {name: getattr(pruning, name) for name in registry.quota_options(pruning.pruner)}


@dataclass(frozen=True)
class RunPruner:
    """The pruner of a run; its methods leave networks unchanged."""

    pruning: Pruning
    data: Data
    sample: int
    """The seed of the training images that are scored."""
    batch_size: int

    @property
    def is_dense(self) -> bool:
        """Whether the run prunes nothing."""
        return self.pruning.pruner == DENSE

    def scores(
        self, model: nn.Module, target: Target, generator: torch.Generator, trained: nn.Module | None = None
    ) -> Scores:
        """Scores of weights, or of units with `--prune_unit=unit`; `trained` is the dense parent, if it is scored."""
        pruning = self.pruning
        pruner = make_pruner(
            pruning.pruner, pruning.prune_iterations, pruning.schedule, pruning.invert,
            pruning.prune_train_mode is not False, quota_options(pruning),
        )  # fmt: skip
        batches = self.data.prune_examples(self.sample, pruning.prune_examples or 1, self.batch_size)
        if pruning.prune_unit == "unit":
            shape, is_compute_aware = self.data.input_shape, pruning.compute_aware
            return score_units(pruner, model, batches, target, shape, generator, trained, is_compute_aware)
        return pruner.score(model, batches, target, generator, trained)

    def masks(self, model: nn.Module, scores: Scores, target: Target) -> Masks:
        """Masks that reach a target by given scores, within the current masks."""
        pruning = self.pruning
        request = (target, self.data.input_shape, pruning.pruning_type, pruning.effective_type)
        if pruning.prune_unit == "unit":
            return allocate_units(model, scores, *request)
        if pruning.keep_alive:
            scores = keep_alive(model, scores, *request)
        return allocate(model, scores, *request)

    def target_kept(self, model: nn.Module, target: Target) -> int:
        """Number of weights, or of units if targets count units, that a target keeps; in a dense run, all weights."""
        if self.is_dense:
            return Masks.of(model).kept
        if self.pruning.counts_units:
            groups = groups_of(model, self.data.input_shape).groups
            return target.kept(sum(len(group.kinds) for group in groups.values()))
        return target.kept(Masks.of(model).total)

    def sparsity(self, model: nn.Module) -> float:
        """Direct sparsity of a network, in units if targets count units, otherwise in weights."""
        if self.pruning.counts_units:
            units = open_units(model, groups_of(model, self.data.input_shape)).values()
            return 1 - sum(int(is_open.sum()) for is_open in units) / sum(map(len, units))
        masks = Masks.of(model)
        return 1 - masks.kept / masks.total
