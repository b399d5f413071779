"""Outcome of a run: the tables, masks and weights that an experiment returns."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pandas as pd

if TYPE_CHECKING:
    from torch import Tensor

    from Layers import Masks
from Utils.results.schema import LAYER_COLUMNS, TRAINING_COLUMNS


@dataclass
class Outcome:
    """What an experiment gives back; it writes nothing itself."""

    summary: dict[str, Any]
    """Values of `SUMMARY_COLUMNS` that are not settings, then columns of the experiment's own."""
    layers: pd.DataFrame
    training: pd.DataFrame
    masks: Masks | None = None
    weights: dict[str, Tensor] = field(default_factory=dict)
    machine: dict[str, Any] = field(default_factory=dict)
    """Device, threads and the like."""
    tables: dict[str, pd.DataFrame] = field(default_factory=dict)
    """Further tables, each kept as a CSV file of its name."""
    error: str = ""
    """Why the run failed, if it did."""
    trace: str = ""
    """Where in the program, if that was not foreseen."""

    @classmethod
    def failed(cls, error: str, trace: str = "") -> Outcome:
        """Nothing but a reason."""
        layers, training = pd.DataFrame(columns=list(LAYER_COLUMNS)), pd.DataFrame(columns=list(TRAINING_COLUMNS))
        return cls({}, layers, training, error=error, trace=trace)
