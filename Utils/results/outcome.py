"""Outcome of a run: the tables, masks and weights that an experiment returns."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import pandas as pd

from Utils.results.schema import LAYER_COLUMNS, TRAINING_COLUMNS

if TYPE_CHECKING:
    from torch import Tensor

    from Layers import Masks


@dataclass
class Outcome:
    """The result of an experiment, which returns it and writes no file itself."""

    summary: dict[str, Any]
    """Values of `SUMMARY_COLUMNS` other than settings, then the experiment's additional columns."""
    layers: pd.DataFrame
    training: pd.DataFrame
    masks: Masks | None = None
    weights: dict[str, Tensor] = field(default_factory=dict)
    machine: dict[str, Any] = field(default_factory=dict)
    """Device, processor and threads of the run."""
    tables: dict[str, pd.DataFrame] = field(default_factory=dict)
    """Additional tables; each is written to a CSV file of its name."""
    error: str = ""
    """The reason why the run failed; empty if it did not."""
    trace: str = ""
    """The traceback of an unexpected error; empty otherwise."""
    attachments: dict[str, bytes] = field(default_factory=dict)
    """Further files, by name, as a report or an exported model."""

    @classmethod
    def of_study(
        cls,
        tables: dict[str, pd.DataFrame],
        summary: dict[str, Any] | None = None,
        attachments: dict[str, bytes] | None = None,
    ) -> Outcome:
        """The outcome of a study, which trains no network: its tables, and further columns of its summary."""
        layers, training = pd.DataFrame(columns=list(LAYER_COLUMNS)), pd.DataFrame(columns=list(TRAINING_COLUMNS))
        return cls(summary or {}, layers, training, tables=tables, attachments=attachments or {})

    @classmethod
    def failed(cls, error: str, trace: str = "") -> Outcome:
        """The outcome of a failed run: the reason, and empty tables."""
        return replace(cls.of_study({}), error=error, trace=trace)
