"""Input and output types of a pruner: `Batches` of examples and `Scores` of weights."""

from collections.abc import Iterable, Mapping

from torch import Tensor

Batches = Iterable[tuple[Tensor, Tensor]]
"""Inputs (batch, channels, height, width) and labels (batch,) on the model's device; can be iterated repeatedly."""


class Scores(dict[str, Tensor]):
    """One finite score per entry of each prunable parameter, by parameter name; higher scores are kept longer."""

    def __init__(self, values: Mapping[str, Tensor], fixed: Mapping[str, int] | None = None) -> None:
        super().__init__(values)
        self.fixed = dict(fixed or {})
        """Number of entries per parameter that are never pruned; they are its best and have the highest scores."""
