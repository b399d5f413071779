"""The registry of experiments, readable without torch.

An experiment is a file here with `run(settings, trained) -> Outcome`, and a line below.
"""

from typing import NamedTuple


class Experiment(NamedTuple):
    """One line of the registry."""

    module: str
    label: str
    groups: tuple[str, ...] = ("run", "pruning", "training", "machine")
    """The groups of settings that it uses; flags of other groups are refused."""


EXPERIMENTS: dict[str, Experiment] = {
    "singleshot": Experiment("Experiments.singleshot", "prune once before training, then train"),
}
