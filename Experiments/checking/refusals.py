"""Refusals: which pruners and flags a network would be refused with, found by trying each on it."""

import copy
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

import torch
from torch import nn

from Experiments.common.network import change_masks
from Experiments.common.run_pruner import quota_options
from Pruners import make_pruner
from Pruners.registry import CRITERIA, QUOTAS
from Pruners.units import groups_of
from Utils.config.groups import Pruning
from Utils.config.resolved import NetworkSpec
from Utils.errors import UserError, one_line
from Utils.user_code import user_code

_IMAGES = 2
"""Images of noise that each criterion scores; normalisation over a batch needs two."""


def refusals(
    model: nn.Module,
    spec: NetworkSpec,
    input_shape: tuple[int, int, int],
    classes: int,
    without_effect: Mapping[str, str],
) -> list[str]:
    """One line for each criterion, quota and flag that is refused, with the reason; the model is left unchanged.

    `without_effect` gives the reasons for flags that have none on this architecture.
    """
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(_IMAGES, *input_shape, generator=generator)
    batches = [(images, torch.arange(_IMAGES) % classes)]
    lines = [f"--{flag} has no effect {reason}" for flag, reason in without_effect.items()]
    reasons: dict[tuple, str | None] = {}
    for name, criterion in CRITERIA.items():
        if not criterion.needs_batches and criterion.prepare is None:
            continue  # it reads weights alone, and does not run the network
        key = criterion.target, criterion.prepare
        if key not in reasons:
            # One round suffices: all rounds of a criterion do the same with the network.
            reasons[key] = _refusal(lambda name=name: make_pruner(name, 1).score(model, batches))
        if reasons[key]:
            lines.append(f"pruner {name}: {reasons[key]}")
    for name in QUOTAS:
        reason = _refusal(lambda name=name: _check_quota(name, model))
        if reason:
            lines.append(f"pruners CRITERION/{name}: {reason}")
    for changed in _flags(spec):
        reason = _refusal(lambda changed=changed: change_masks(copy.deepcopy(model), changed))
        if reason:
            lines.append(reason.removesuffix("; leave it out"))
    reason = _refusal(lambda: groups_of(model, input_shape))
    if reason:
        lines.append(reason if reason.startswith("--prune_unit") else f"--prune_unit=unit: {reason}")
    return lines


def _flags(spec: NetworkSpec) -> Iterator[NetworkSpec]:
    """The spec of the network with each flag that changes which parameters have masks, unless it is already set."""
    for kind in ("bias", "batchnorm", "residual"):
        if kind not in spec.kinds:
            yield replace(spec, kinds=(kind,), dense_classifier=False)
    if not spec.dense_classifier:
        yield replace(spec, kinds=(), dense_classifier=True)


def _check_quota(name: str, model: nn.Module) -> None:
    pruner = f"random/{name}"
    make_pruner(pruner, quota_options=quota_options(Pruning(pruner=pruner))).check(model)


def _refusal(attempt: Callable[[], object]) -> str | None:
    """The reason with which an attempt fails, in one line; None if it succeeds."""
    try:
        with user_code("fails"):
            attempt()
    except UserError as error:
        return one_line(error)
    return None
