"""Searches for masks: short runs without files, with a copy of the network at each of their tests."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from commands import runs
from conftest import ROOT
from torch import Tensor

from Experiments.common.trial import Trial
from Experiments.runs.supermask import run
from Layers import Masks, prunable
from Layers.forms.supermask import Supermask
from Utils.config.settings import Settings
from Utils.results.outcome import Outcome
from Utils.training.callbacks import Callback
from Utils.training.context import RunContext

SMALL = f"{ROOT / 'tests' / 'own' / 'small_network.py'}:small"
"""A network with convolutions, biases, normalisation and a skip."""

EPOCHS, STEPS = 5, 3
WORDS = [
    "--experiment=supermask", "--data=digits", "--image_size=8", "--threads=1", "--batch_size=479",
    f"--iterations={EPOCHS * STEPS}",
]  # fmt: skip
"""Flags of a search of EPOCHS epochs of STEPS steps."""

FC = "--architecture=gem-miner/fc"
"""A network without biases; on images of 8 x 8, it has the layers SIZES."""
SIZES = [64 * 100, *[100 * 100] * 4, 100 * 10]
TOTAL = sum(SIZES)


@dataclass
class Snapshot:
    """A network at a test of one of its trainings, named by `phase`."""

    phase: str
    step: int
    masks: Masks
    state: dict[str, Tensor]
    weights: dict[str, Tensor]
    scores: dict[str, Tensor]
    """Empty but in a search."""
    free: Masks
    top1: float


@dataclass
class Watched:
    """A run, with all that was seen of it."""

    settings: Settings
    outcome: Outcome
    tests: list[Snapshot]
    freezings: list[Masks]
    """What was left free after each freezing."""

    def rows(self, *phases: str) -> list[dict[str, Any]]:
        """Rows of `search.csv` of some phases, or of all."""
        rows = self.outcome.tables["search"].to_dict("records")
        return [
            {str(name): value for name, value in row.items()} for row in rows if row["phase"] in phases or not phases
        ]

    def of(self, phase: str) -> list[Snapshot]:
        """The tests of a phase, with that before its first step."""
        return [test for test in self.tests if test.phase == phase]

    @property
    def masks(self) -> Masks:
        """The masks that were found."""
        assert self.outcome.masks is not None
        return self.outcome.masks


class _Watch(Callback):
    def __init__(self, tests: list[Snapshot]) -> None:
        self.tests = tests

    def after_test(self, training, member) -> None:
        model, form = training.task.model, training.form
        is_search = isinstance(form, Supermask)
        self.tests.append(
            Snapshot(
                training.task.name, training.step, Masks.of(model), _copied(model.state_dict()),
                _copied({name: weight for name, (weight, _) in prunable(model).items()}),
                _copied(form.current_scores()) if is_search else {}, form.current_free() if is_search else Masks({}),
                training.histories[0].last["top1"],
            )
        )  # fmt: skip


def _copied(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in tensors.items()}


def watched(*words: str) -> Watched:
    """Execute a search and all that follows it; WORDS come first, `words` replace them."""
    flags = {word.partition("=")[0]: word for word in (*WORDS, *words)}
    (settings,) = runs(*flags.values())
    tests: list[Snapshot] = []
    freezings: list[Masks] = []
    train, freeze = Trial.train, Supermask.freeze

    def watched_train(self, *callbacks, **options):
        return train(self, *callbacks, _Watch(tests), **options)

    def watched_freeze(self, free):
        freeze(self, free)
        freezings.append(self.current_free())

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Trial, "train", watched_train)
        patch.setattr(Supermask, "freeze", watched_freeze)
        outcome = run(settings, {}, RunContext(has_bar=False))
    return Watched(settings, outcome, tests, freezings)


def left_after(density: float, total: int, events: int) -> list[int]:
    """Entries left after each freezing, by the rule of the paper's program in exact whole numbers."""
    left = [total]
    for _ in range(events):
        rate = 1 - density ** (1 / events)
        left.append(left[-1] - int(-(-rate * left[-1] // 1)))
    return left[1:]


def effective_count(masks: Mapping[str, Tensor]) -> int:
    """Entries of a network of dense layers on a path from an input to an output, by products of matrices."""
    matrices = [mask.double() for mask in masks.values()]
    reached = [torch.ones(matrices[0].shape[1])]
    for matrix in matrices:
        reached.append((matrix @ reached[-1].double() > 0).float())
    needed = [torch.ones(matrices[-1].shape[0])]
    for matrix in reversed(matrices):
        needed.append((matrix.T @ needed[-1].double() > 0).float())
    needed.reverse()
    pairs = zip(matrices, reached, needed[1:], strict=False)
    return sum(int((matrix * outer[:, None] * inner).sum()) for matrix, inner, outer in pairs)
