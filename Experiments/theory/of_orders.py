"""Studies of orders: what experiments share that prune one network to many compressions. Loads no PyTorch."""

from collections.abc import Collection, Mapping
from decimal import Decimal
from typing import Any

from Experiments.common.pruner_names import depends_on_target
from Experiments.theory.of_scores import OfScores
from Utils.config.fields import Check
from Utils.config.settings import Settings

EXPONENTS: Check = (
    lambda values: values and all(0 <= value <= 300 for value in values), "exponents n of compressions 10^n, at least 0"
)  # fmt: skip

_NO_TARGET = {"target_sparsity": Decimal(0), "com_exp": None}

TARGET = ("target_sparsity", "target_density", "com_exp")
"""Flags that set the target of pruning."""


class OfOrders(OfScores):
    """A study of the order in which a pruner removes the weights of one network."""

    def has_target(self, settings: Settings) -> bool:
        """Whether the order is that of a target."""
        return False

    def fixed(self, settings: Settings) -> Mapping[str, Any]:
        """Without a target, nothing is pruned."""
        return {**super().fixed(settings), **({} if self.has_target(settings) else _NO_TARGET)}

    def ignored(self, settings: Settings, lr_schedule: str) -> dict[str, str]:
        """Direct and effective weights are counted in the order itself, which starts from an unpruned network."""
        reason = f"with --experiment={self.name}"
        counted = f"{reason}, which counts direct and effective weights"
        single = f"{reason}, which prunes single weights by their order"
        return {
            **super().ignored(settings, lr_schedule),
            **dict.fromkeys(("pruning_type", "effective_type"), counted),
            **dict.fromkeys(("prune_unit", "compute_aware", "keep_alive", "shuffle"), single),
            "masks_from": f"{reason}, which prunes the whole network",
        }


class OfLevels(OfOrders):
    """A study of the compressions 10^n of an option `exponents`."""

    def resolve(self, settings: Settings, given: Collection[str] = ()) -> Settings:
        """Each exponent once, in rising order."""
        settings = super().resolve(settings, given)
        exponents = settings.options.exponents
        if exponents is None:
            return settings
        return settings.with_values(exponents=tuple(sorted({Decimal(format(n.normalize(), "f")) for n in exponents})))

    def ignored(self, settings: Settings, lr_schedule: str) -> dict[str, str]:
        """Exponents are the targets; scoring in rounds is resumed level by level."""
        reasons = super().ignored(settings, lr_schedule)
        if depends_on_target(settings.pruning):
            reasons.pop("checkpoint_every", None)
        exponents = f"with --experiment={self.name}, whose targets are its --exponents"
        return reasons | dict.fromkeys(TARGET, exponents)
