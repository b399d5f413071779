"""How is a network pruned while it trains?"""

import time
from dataclasses import dataclass, field
from typing import Any

import pandas as pd
from torch import nn

from Experiments.pruning import masks_of, scores_for
from Layers import Masks
from Utils import randomness
from Utils.data import Data
from Utils.distributed import agree
from Utils.errors import UserError
from Utils.settings import DENSE, Settings
from Utils.target import Target


@dataclass
class Ongoing:
    """Prunes a network again and again, each time by its weights as they are, and records it."""

    model: nn.Module
    data: Data
    settings: Settings
    rows: list[dict[str, Any]] = field(default_factory=list)
    """One for each time: when, how many weights are kept, and how far the masks are those of before."""
    seconds: float = 0.0

    def __post_init__(self) -> None:
        self.base = Masks.of(self.model)
        """Masks that nothing returns from."""
        self.generator = randomness.generator(self.settings.run.sample, "random scores")

    @property
    def is_dense(self) -> bool:
        """Whether nothing is to be pruned."""
        return self.settings.pruning.pruner == DENSE

    def check(self) -> None:
        """Raise `UserError` now if the target cannot be reached, rather than when it is to be."""
        if not self.is_dense:
            self.masks(self.settings.target)

    def masks(self, target: Target) -> Masks:
        """The masks that the network's weights give now, within those that it has; nothing is changed."""

        def made() -> Masks:
            scores = scores_for(self.model, self.data, self.settings, target, self.generator)
            return masks_of(self.model, scores, target, self.data, self.settings).to("cpu")

        return agree(made)

    def prune(self, target: Target, iteration: int, is_carried: bool, is_final: bool = False) -> None:
        """Prune to a target; what is not carried may come back."""
        started, before = time.perf_counter(), Masks.of(self.model)
        if not is_carried:
            self.base.install(self.model)
        try:
            self.masks(target).install(self.model)
        except UserError:
            # Early targets can be below what does nothing in the unpruned network anyway.
            if is_final:
                raise
        self.seconds += time.perf_counter() - started
        self.record(iteration, before)

    def replace(self, masks: Masks, iteration: int) -> None:
        """Give the network other masks."""
        before = Masks.of(self.model)
        masks.install(self.model)
        self.record(iteration, before)

    def record(self, iteration: int, before: Masks) -> None:
        """Write down what the network's masks are now."""
        now = Masks.of(self.model)
        row = {"iteration": iteration, "kept_direct": now.kept, "direct_sparsity": 1 - now.kept / now.total}
        self.rows.append({**row, "overlap": now.overlap(before)})

    def table(self) -> pd.DataFrame:
        """What was recorded."""
        return pd.DataFrame(self.rows, columns=["iteration", "kept_direct", "direct_sparsity", "overlap"])
