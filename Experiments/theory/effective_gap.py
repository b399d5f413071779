"""Effective gap: effective against direct compression over the whole order of a pruner, until nothing is connected.

    python main.py --experiment=effective-gap --data=mnist \
        --pruner random random/erk random/igq mag snip grasp synflow --com_exp=3

Vysogorets & Kempe 2023: of the weights that a pruner keeps, many lie on no path from input to output. One pass of ranks
gives the exact number of effective weights at every compression, the hidden units that are dead, the structural rank,
and the largest compression with a path left. Criteria in rounds, such as SynFlow, have the order of one target
(`--target_sparsity`, `--com_exp`); the target has no effect on other criteria.

LeNet-300-100 takes a few seconds for each pruner on one core of an Intel Xeon. One sample of each network.
"""

from Experiments.common.pruner_names import depends_on_target
from Experiments.theory.of_orders import TARGET, OfOrders
from Utils.config.settings import Settings


class EffectiveGap(OfOrders):
    """The effective weights, dead units and structural rank at every compression."""

    name = "effective-gap"
    about = "compare effective with direct compression over the whole order of a pruner"
    implementation = "Experiments.theory.runs.effective_gap:run"
    figures = ("effective-gap",)

    def has_target(self, settings: Settings) -> bool:
        """A criterion in rounds has an order for each target."""
        return depends_on_target(settings.pruning)

    def ignored(self, settings: Settings, lr_schedule: str) -> dict[str, str]:
        """A criterion of one round has one order for all targets."""
        reasons = super().ignored(settings, lr_schedule)
        if self.has_target(settings):
            return reasons
        return reasons | dict.fromkeys(TARGET, f"on pruner {settings.pruning.pruner}, whose order suits all targets")
