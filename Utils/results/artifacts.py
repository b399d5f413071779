"""Artifacts: what a run reads of another run, and the need that asks for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from Utils.config.settings import Settings

if TYPE_CHECKING:
    import pandas as pd
    from torch import Tensor

    from Layers import Masks

Kind = Literal["weights", "masks", "tables"]


@dataclass(frozen=True)
class Need:
    """Another run that must be finished before a run, and what the run reads of it."""

    name: str
    """The name of the artifact among the inputs of the run."""
    settings: Settings
    """The resolved settings of the other run."""
    kind: Kind = "weights"


@dataclass(frozen=True)
class Artifact:
    """What a run reads of another run: its weights, its masks, or its tables."""

    digest: str
    """A hash that tells contents apart."""
    weights: Mapping[str, Tensor] = field(default_factory=dict)
    masks: Masks | None = None
    tables: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    """Tables by name, `summary` and `layers` among them."""
