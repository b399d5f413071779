"""The registry of experiments, readable without torch.

An experiment is a file here with `run(settings, trained) -> Outcome`, a line below, and, if it has settings of its own,
a dataclass of them in `Experiments/options.py`.
"""

from typing import NamedTuple

from Experiments.options import Dynamic, Gradual, Multishot, TrainThenPrune, UnionMask


class Experiment(NamedTuple):
    """One line of the registry."""

    module: str
    label: str
    options: type | None = None
    """Settings of its own; flags of other experiments are refused."""


EXPERIMENTS: dict[str, Experiment] = {
    "singleshot": Experiment("Experiments.singleshot", "prune once before training, then train"),
    "multishot": Experiment("Experiments.multishot", "train, prune and rewind, level by level", Multishot),
    "gradual": Experiment("Experiments.gradual", "prune more and more while training", Gradual),
    "train-then-prune": Experiment(
        "Experiments.train_then_prune", "train once, then prune weights and units without training on", TrainThenPrune
    ),
    "dynamic": Experiment(
        "Experiments.dynamic", "exchange weights of a sparse network while it trains (SET, RigL)", Dynamic
    ),
    "union-mask": Experiment(
        "Experiments.union_mask", "unite the masks of several cycles of pruning while training", UnionMask
    ),
}
