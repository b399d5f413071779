"""Training task: a network, its data, and how it is trained."""

from dataclasses import dataclass

from torch import nn

from Utils.config.groups import Machine
from Utils.config.resolved import Recipe
from Utils.data.dataset import Data

MAIN = "training"
"""Name of the training of a run that has one."""


@dataclass(frozen=True)
class TrainingTask:
    """One training of one network."""

    model: nn.Module
    data: Data
    recipe: Recipe
    sample: int = 0
    """The seed of data order and augmentation."""
    label: str = ""
    """The description on the progress bar."""
    machine: Machine = Machine()
    name: str = MAIN
    """Name among the trainings of a run, and of its checkpoint."""
    start: int = 0
    """Steps that are left out: training uses the learning rates and batches of the steps from there on."""
