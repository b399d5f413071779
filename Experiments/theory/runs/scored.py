"""Scored networks: the data and the network of a run in double precision, and its scores by a criterion."""

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd
from torch import Tensor, nn

from Experiments.common.trial import Trial
from Layers import add_masks, prunable
from Pruners import make_pruner
from Pruners.registry import parts
from Utils import randomness
from Utils.config.settings import Settings
from Utils.data.dataset import Batches
from Utils.machine import describe_machine
from Utils.results.outcome import Outcome
from Utils.training.context import RunContext

_AT_ONCE = 1 << 18
"""Largest number of input values that are scored at once, where this changes nothing: one colour image at 224x224."""


def scored_trial(settings: Settings, context: RunContext) -> Trial:
    """The data and the network of a run that trains nothing, in double precision."""
    trial = Trial(settings, context)
    trial.model.double()
    return trial


def mask_if_any(model: nn.Module, kind: str) -> bool:
    """Give the parameters of a kind, such as `bias`, masks, so that they are scored; returns whether there are any."""
    try:
        add_masks(model, kind)
    except ValueError:
        return False
    return True


def raw_scores(trial: Trial) -> dict[str, Tensor]:
    """The scores that the criterion of a run gives each prunable entry in one round, float64; 0 for pruned entries."""
    started, pruning = time.perf_counter(), trial.settings.pruning
    pruner = make_pruner(pruning.pruner, iterations=1, train_mode=pruning.prune_train_mode is not False)
    generator = randomness.generator(trial.settings.run.sample, "random scores")
    scores = pruner.criterion_scores(trial.model, double_batches(trial), trial.settings.target, generator)
    trial.prune_seconds += time.perf_counter() - started
    masks = {name: mask for name, (_, mask) in prunable(trial.model).items()}
    return {
        name: score.detach() if bool(masks[name].all()) else score.detach().masked_fill(~masks[name], 0)
        for name, score in scores.items()
    }


def double_batches(trial: Trial) -> "DoubleBatches":
    """The examples that a run scores, in double precision.

    Large images come few at a time, unless scores depend on which images share a batch.
    """
    settings = trial.settings
    examples = settings.pruning.prune_examples or 1
    batches = trial.data.prune_examples(settings.run.sample, examples, settings.recipe.batch_size)
    is_divisible = not any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in trial.model.modules())
    is_divisible &= not any(criterion.is_of_batches for criterion in parts(settings.pruning.pruner))
    channels, height, width = trial.data.input_shape
    most = max(1, _AT_ONCE // (channels * height * width)) if is_divisible else settings.recipe.batch_size + examples
    return DoubleBatches(batches, most)


@dataclass(frozen=True)
class DoubleBatches:
    """Batches in float64, of at most so many images."""

    batches: Batches
    most: int

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        for images, labels in self.batches:
            for part, part_labels in zip(images.split(self.most), labels.split(self.most), strict=True):
                yield part.double(), part_labels


def study_outcome(trial: Trial, tables: Mapping[str, pd.DataFrame], summary: Mapping[str, Any]) -> Outcome:
    """The outcome of a study of one network: its tables, and columns of its summary."""
    columns = {"prune_seconds": trial.prune_seconds, **summary}
    return replace(Outcome.of_study(dict(tables), columns), machine=describe_machine(trial.device))
