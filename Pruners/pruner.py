"""What is a pruner? A criterion, which scores weights, and a quota, which re-scores them by layer."""

import copy
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from importlib import import_module

import torch
from torch import Tensor, nn

import Pruners
from Layers import prunable
from Utils import randomness
from Utils.connectivity import check_scores
from Utils.errors import UserError
from Utils.target import Target

Scores = dict[str, Tensor]
"""One finite number per entry of each prunable parameter; higher is kept longer."""

Batches = Iterable[tuple[Tensor, Tensor]]
"""Inputs (batch, channels, height, width) and labels (batch,), on the model's device; may be gone through often."""

Criterion = Callable[[nn.Module, Batches, Target, torch.Generator], Scores]
Quota = Callable[[Mapping[str, Tensor], Mapping[str, Tensor]], Scores]


@dataclass(frozen=True)
class Pruner:
    """Scores a network's weights; `Pruners.allocation.allocate` turns scores into masks."""

    name: str
    criterion: Criterion
    quota: Quota

    @classmethod
    def named(cls, criterion: str, quota: str) -> "Pruner":
        """The pruner of two names that are in the registries."""
        targets = Pruners.CRITERIA[criterion].target, Pruners.QUOTAS[quota].target
        functions = (getattr(import_module(module), name) for module, name in (t.split(":") for t in targets))
        return cls(Pruners.canonical_name(f"{criterion}/{quota}"), *functions)

    def score(
        self,
        model: nn.Module,
        batches: Batches = (),
        sparsity: Target | Decimal | float | str = 0.9,
        generator: torch.Generator | None = None,
    ) -> Scores:
        """Score every prunable entry; the model stays bit for bit as it is.

        `batches` are training examples (SynFlow reads only their shape). Iterative criteria prune step by step to
        `sparsity`; others ignore it. `generator` (CPU) makes the random choices, by default that of sample 0.
        Raises `UserError` if scores are not finite.
        """
        target = Target.of(sparsity)
        generator = generator or randomness.generator(0, "random scores")
        parameters = prunable(model)
        device = next(iter(parameters.values()))[0].device
        with randomness.isolated(generator, device):
            copied = copy.deepcopy(model)
            for weight, _ in prunable(copied).values():
                weight.requires_grad_()  # frozen weights are scored like any other
            scores = self.criterion(copied, batches, target, generator)
        try:
            check_scores(parameters, scores)
        except ValueError as error:
            raise UserError(f"pruner {self.name!r} failed: {error}") from error
        masks = {name: mask for name, (_, mask) in parameters.items()}
        return {name: score.detach() for name, score in self.quota(scores, masks).items()}
