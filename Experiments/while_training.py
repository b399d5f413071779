"""Experiments that prune during training: what they share. Loads no PyTorch."""

from collections.abc import Collection

from Experiments.base import Experiment
from Experiments.common.pruner_names import of_current_weights
from Utils.config.choices import DENSE
from Utils.config.settings import Settings
from Utils.errors import UserError


class WhileTraining(Experiment):
    """An experiment whose masks change while a network trains."""

    def resolve(self, settings: Settings, given: Collection[str] = ()) -> Settings:
        """Pruning during training scores trained weights."""
        return settings.with_values(pruner=of_current_weights(settings.pruning.pruner))

    def check(self, settings: Settings) -> None:
        """Masks that change during training need a training."""
        if not settings.training.train:
            raise UserError(f"--experiment={self.name} changes masks during training, so it excludes --train=0")

    def options_of_dense(self, settings: Settings, lr_schedule: str) -> frozenset[str]:
        """Options that act on a dense network, too."""
        return frozenset()

    def ignored(self, settings: Settings, lr_schedule: str) -> dict[str, str]:
        """Sanity checks and trained weights belong to pruning before training; dense networks have no schedule.

        A dense network on which no option acts is that of any other experiment.
        """
        reason = f"with --experiment={self.name}"
        reasons = {
            "shuffle": f"{reason}, which prunes its masks further",
            "reinitialize": f"{reason}, which prunes during training",
            "pre_iterations": f"{reason}, which trains nothing before",
        }
        if settings.pruning.pruner == DENSE:
            reasons["pre_iterations"] = f"on pruner {DENSE}"
            acting = self.options_of_dense(settings, lr_schedule)
            names = {"experiment", *vars(settings.options)} - acting
            reasons |= dict.fromkeys(names, f"on pruner {DENSE}, which prunes nothing")
        return reasons


def check_steps(start: float, end: float) -> None:
    """Raise `UserError` if pruning would end before it starts; both are fractions of the run."""
    if start > end:
        raise UserError(f"--start_step={start} is after --end_step={end}")
