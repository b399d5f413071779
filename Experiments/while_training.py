"""Experiments that prune during training: what they share. Loads no PyTorch."""

from collections.abc import Collection

from Experiments.base import Experiment
from Experiments.common.pruner_names import of_current_weights
from Utils.config.choices import DENSE
from Utils.config.settings import Settings
from Utils.errors import UserError


class WhileTraining(Experiment):
    """An experiment whose masks change while a network trains."""

    rate_options: frozenset[str] = frozenset()
    """Options that set learning rates, and so have an effect on dense networks, too."""

    def resolve(self, settings: Settings, given: Collection[str] = ()) -> Settings:
        """Pruning during training scores trained weights."""
        return settings.with_values(pruner=of_current_weights(settings.pruning.pruner))

    def check(self, settings: Settings) -> None:
        """Masks that change during training need a training."""
        if not settings.training.train:
            raise UserError(f"--experiment={self.name} changes masks during training, so it excludes --train=0")

    def ignored(self, settings: Settings, lr_schedule: str) -> dict[str, str]:
        """Sanity checks and trained weights belong to pruning before training; dense networks have no schedule."""
        reason = f"with --experiment={self.name}"
        reasons = {
            "shuffle": f"{reason}, which prunes its masks further",
            "reinitialize": f"{reason}, which prunes during training",
            "pre_iterations": f"{reason}, which trains nothing before",
        }
        if settings.pruning.pruner == DENSE:
            reasons["pre_iterations"] = f"on pruner {DENSE}"
            options = vars(settings.options).keys() - self.rate_options
            reasons |= dict.fromkeys(options, f"on pruner {DENSE}, which prunes nothing")
        return reasons


def check_steps(start: float, end: float) -> None:
    """Raise `UserError` if pruning would end before it starts; both are fractions of the run."""
    if start > end:
        raise UserError(f"--start_step={start} is after --end_step={end}")
