"""Registry of experiments: name, module, description and options of each. Loads no PyTorch.

To add an experiment, add a file in this folder with `trained_run(settings)` and `run(settings, trained) -> Outcome`, a
line below, and, if it has its own flags, a dataclass of options in `Experiments/options.py`.
"""

from typing import NamedTuple

from Experiments.options import Dynamic, Gradual, Multishot, TrainThenPrune, UnionMask


class Experiment(NamedTuple):
    """One line of the registry."""

    module: str
    label: str
    options: type | None = None
    """Dataclass of its own flags; flags of other experiments are refused."""


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
