"""What does a pruner give?"""

from collections.abc import Iterable, Mapping

from torch import Tensor

Batches = Iterable[tuple[Tensor, Tensor]]
"""Inputs (batch, channels, height, width) and labels (batch,), on the model's device; may be gone through often."""


class Scores(dict[str, Tensor]):
    """One finite number per entry of each prunable parameter, by the parameter's name; higher is kept longer."""

    def __init__(self, values: Mapping[str, Tensor], fixed: Mapping[str, int] | None = None) -> None:
        super().__init__(values)
        self.fixed = dict(fixed or {})
        """How many entries of a parameter may never be pruned: its best ones, which have the highest scores of all."""
