"""One row per registry entry: what the parametrised tests run over."""

from collections.abc import Container, Iterable
from typing import Any

import pytest

from Experiments.registry import EXPERIMENTS
from Models.registry import ARCHITECTURES
from Pruners import registry
from Utils.data.registry import DATASETS

CRITERIA = list(registry.CRITERIA)

WITH_QUOTA = [registry.canonical_name(f"{criterion}/{quota}") for criterion in CRITERIA for quota in registry.QUOTAS]
"""Every criterion with every quota."""

TRANSFERS = [*(f"random/{source}" for source in CRITERIA[1:]), *(f"{criterion}/random" for criterion in CRITERIA[1:])]
"""Every criterion as the one whose shares are taken, and as the one whose order is."""

ALL_PRUNERS = [*WITH_QUOTA, *TRANSFERS]

NETWORKS = {name: ARCHITECTURES[name].input_shape for name in ("lenet300100", "lenet5")}
"""Architectures that are small enough for tests over every pruner, and the input that each is built for."""

PRUNABLE = {"lenet300100": (266_200, [235_200, 30_000, 1_000]), "lenet5": (61_770, [450, 2_400, 48_000, 10_080, 840])}
"""Golden fact 1: the number of prunable weights, in all and by layer."""

OFFLINE_DATA = [name for name, entry in DATASETS.items() if entry.is_embedded]
"""Data sets that need neither file nor network."""


def trains(name: str) -> bool:
    """Whether an experiment trains anything; if not, it sets --train=0, which may then be typed."""
    experiment = EXPERIMENTS[name]
    return experiment.fixed(experiment.default_settings()).get("train", True)


def is_possible(pruner: str, architecture: str) -> bool:
    """Whether a pruner goes with an architecture: `uniform_plus` needs a convolution."""
    return not (pruner.endswith("/uniform_plus") and architecture == "lenet300100")


def slow_unless(quick: Container[Any], cases: Iterable[Any]) -> list[Any]:
    """Parametrised cases, of which those that are not quick are executed with the slow tests."""
    return [
        pytest.param(*(case if isinstance(case, tuple) else (case,)), marks=() if case in quick else pytest.mark.slow)
        for case in cases
    ]
