"""Conservation and the schedule of SynFlow: whether a round prunes more than the score of a cut.

    python main.py --experiment=schedule-conservation --architecture=lottery/vgg16 --prune_iterations 1 10 50 100 \\
        --schedule linear exponential --com_exp 1 2 3 --sample 0 1 2

Tanaka et al. 2020 (figure 7; `synaptic-flow-ratio` in their README): the scores of a layer add up to the flow R, so a
round that prunes scores of less than R in total (`ratio` < 1) cannot empty a layer. `rounds.csv` has the ratio of each
round, `max_ratio` in `summary.csv` is the largest one. Scores of weights are conserved if no bias has a value.

A round of VGG-16 takes 0.5 s on one core of an Intel Xeon, so 100 rounds take a minute.
"""

from collections.abc import Mapping
from typing import Any

from Experiments.theory.of_scores import OfScores
from Utils.config.settings import Settings

_OTHERS = (
    "pruning_type", "effective_type", "prune_unit", "compute_aware", "keep_alive", "invert", "shuffle",
)  # fmt: skip


class ScheduleConservation(OfScores):
    """The scores that each round of SynFlow prunes, compared with the flow."""

    name = "schedule-conservation"
    about = "the scores that each round of SynFlow prunes against the flow, by number of rounds and schedule"
    implementation = "Experiments.theory.runs.schedule_conservation:run"
    figures = ("schedule-conservation",)

    def fixed(self, settings: Settings) -> Mapping[str, Any]:
        """SynFlow prunes to a direct target."""
        return {**super().fixed(settings), "pruner": "synflow", "pruning_type": "direct"}

    def ignored(self, settings: Settings, lr_schedule: str) -> dict[str, str]:
        """The scores of SynFlow are compared with its own flow."""
        reason = f"with --experiment={self.name}"
        return {
            **super().ignored(settings, lr_schedule),
            **dict.fromkeys(_OTHERS, f"{reason}, which prunes single weights in the rounds of SynFlow"),
            "pruner": f"{reason}, whose pruner is synflow",
        }
