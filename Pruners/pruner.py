"""Pruner: a criterion that scores weights, in one round or several, and a quota that re-scores them."""

import copy
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from functools import partial
from importlib import import_module
from typing import Any

import torch
from torch import Tensor, nn
from tqdm import tqdm

from Layers import prunable, require_prunable
from Pruners import registry
from Pruners.criteria.scores import Batches, Scores
from Pruners.schedules.quotas import transfer
from Pruners.schedules.rounds import budgets, prune_in_rounds, regrow_in_rounds
from Utils import randomness
from Utils.config.target import Target
from Utils.connectivity.effective import check_scores
from Utils.errors import UserError, one_line


@dataclass(frozen=True)
class Pruner:
    """Scores a network's weights; `Pruners.allocation.allocate` turns scores into masks."""

    criterion: str
    quota: str
    iterations: int | None = None
    """Rounds of scoring and pruning; None: the criterion's default."""
    schedule: str = "exponential"
    invert: bool = False
    """Whether the criterion's order is reversed, as a control; the quota's shares do not change."""
    train_mode: bool = True
    """Whether the network is in training mode while it is scored."""
    quota_options: Mapping[str, Any] = field(default_factory=dict)
    """Arguments that only this quota takes."""

    @property
    def name(self) -> str:
        """The canonical name of the criterion and the quota."""
        return registry.canonical_name(f"{self.criterion}/{self.quota}")

    def check(self, model: nn.Module) -> None:
        """Raise `UserError` if the quota does not support the network, regardless of scores."""
        check = registry.QUOTAS[self.quota].check if self.quota in registry.QUOTAS else None
        if check is not None:
            load(check)({name: weight for name, (weight, _) in prunable(model).items()}, **self.quota_options)

    def score(
        self,
        model: nn.Module,
        batches: Batches = (),
        sparsity: Target | Decimal | float | str = 0.9,
        generator: torch.Generator | None = None,
        trained: nn.Module | None = None,
    ) -> Scores:
        """Score every prunable entry; the model is left bit-identical.

        `batches` are training examples (SynFlow reads only their shape). A criterion with several rounds prunes step by
        step to `sparsity`; other criteria ignore it. `generator` (CPU) drives random choices; the default is the
        generator of sample 0. `trained` is the network that criteria of trained weights score; the default is `model`.
        Raises `UserError` if scores are not finite, `ValueError` for a model without masks.
        """
        batches = list(batches) if iter(batches) is batches else batches
        target = Target.of(sparsity)
        generator = generator or randomness.generator(0, "random scores")
        masks = {name: mask for name, (_, mask) in require_prunable(model).items()}
        raw = self._score_by(self.criterion, model, trained, batches, target, generator, self.invert)
        if self.quota in registry.CRITERIA:
            source = self._score_by(self.quota, model, trained, batches, target, generator, False)
            scores = transfer(raw, masks, source)
        else:
            scores = load(registry.QUOTAS[self.quota].target)(raw, masks, **self.quota_options)
        return Scores({name: score.detach() for name, score in scores.items()}, scores.fixed)

    def criterion_scores(
        self,
        model: nn.Module,
        batches: Batches,
        target: Target,
        generator: torch.Generator | None = None,
        trained: nn.Module | None = None,
    ) -> Mapping[str, Tensor]:
        """The raw scores of the criterion, before the quota re-scores them."""
        generator = generator or randomness.generator(0, "random scores")
        return self._score_by(self.criterion, model, trained, batches, target, generator, self.invert)

    def _score_by(
        self,
        criterion: str,
        model: nn.Module,
        trained: nn.Module | None,
        batches: Batches,
        target: Target,
        generator: torch.Generator,
        invert: bool,
    ) -> Mapping[str, Tensor]:
        """Scores of any criterion, from the trained network if the criterion scores trained weights."""
        scored = trained if trained is not None and registry.CRITERIA[criterion].scores_trained else model
        return self._score(criterion, scored, batches, target, generator, invert)

    def _score(
        self,
        criterion: str,
        model: nn.Module,
        batches: Batches,
        target: Target,
        generator: torch.Generator,
        invert: bool,
    ) -> Mapping[str, Tensor]:
        """Scores of a copy of `model`, in one round or by pruning in rounds."""
        entry = registry.CRITERIA[criterion]
        parameters = prunable(model)
        device = next(iter(parameters.values()))[0].device
        with randomness.isolated(generator, device), torch.enable_grad():
            copied = copy.deepcopy(model).train(self.train_mode)
            for weight, _ in prunable(copied).values():
                weight.requires_grad_()  # frozen weights are scored like any other
            if entry.prepare is not None:
                load(entry.prepare)(copied)
            rounds = self.iterations or entry.iterations
            one_each = entry.takes_one_batch and rounds > 1
            examples = _one_at_a_time(batches) if one_each else _with_progress(batches, criterion, rounds)
            function = load(entry.target)

            def score() -> Mapping[str, Tensor]:
                scores = function(copied, next(examples) if isinstance(examples, Iterator) else examples, generator)
                return {name: -value for name, value in scores.items()} if invert else scores

            try:
                if rounds == 1:
                    scores = score()
                    check_scores(parameters, scores)
                    return scores
                total = sum(mask.numel() for _, mask in parameters.values())
                schedule = load(registry.SCHEDULES[self.schedule].target)
                prune = regrow_in_rounds if entry.regrows else prune_in_rounds
                return prune(copied, score, budgets(target, total, rounds, schedule), criterion)
            except ValueError as error:
                raise UserError(f"pruner {self.name!r} failed: {one_line(error)}") from error


def load(target: str) -> Callable[..., Any]:
    """The object that a registry entry's `"module:object"` names."""
    module, name = target.split(":")
    return getattr(import_module(module), name)


def _one_at_a_time(batches: Batches) -> Iterator[Batches]:
    """Yield one batch per round, cycling through the batches without end."""
    while True:
        is_empty = True
        for batch in batches:
            is_empty = False
            yield [batch]
        if is_empty:
            yield []


@dataclass(frozen=True)
class _BatchesWithProgress:
    """Batches with a progress bar around each slow pass."""

    batches: Batches
    label: str

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        total = len(self.batches) if hasattr(self.batches, "__len__") else None  # type: ignore[arg-type]
        bar = partial(tqdm, unit="batch", leave=False, disable=None, delay=2, dynamic_ncols=True)
        return iter(bar(self.batches, desc=f"scoring {self.label}", total=total))


def _with_progress(batches: Batches, label: str, rounds: int) -> Batches:
    """Batches with a progress bar; unchanged for several rounds, which have a bar of their own."""
    return _BatchesWithProgress(batches, label) if rounds == 1 else batches
