"""Registry of experiments: the class of each, by its path. Loads no PyTorch.

To add an experiment, write a subclass of `Experiment` (`base.py`) in a file of this folder, and add its line below.
"""

from importlib import import_module

from Experiments.base import Experiment, check_options

PATHS = (
    "Experiments.singleshot:Singleshot",
    "Experiments.multishot:Multishot",
    "Experiments.gradual:Gradual",
    "Experiments.train_then_prune:TrainThenPrune",
    "Experiments.dynamic:Dynamic",
    "Experiments.union_mask:UnionMask",
    "Experiments.supermask:Supermask",
    "Experiments.theory.unit_conservation:UnitConservation",
    "Experiments.theory.layer_conservation:LayerConservation",
    "Experiments.theory.imp_conservation:ImpConservation",
    "Experiments.theory.schedule_conservation:ScheduleConservation",
    "Experiments.theory.layer_collapse:LayerCollapse",
    "Experiments.theory.quotas:Quotas",
    "Experiments.theory.effective_gap:EffectiveGap",
    "Experiments.anatomy.experiment:Anatomy",
    "Experiments.comparison.experiment:Comparison",
)


def load(path: str) -> Experiment:
    """The experiment of a path "module:class"; raises `ValueError` if its options hide flags of all experiments."""
    module, _, name = path.partition(":")
    return check_options(getattr(import_module(module), name)())


EXPERIMENTS: dict[str, Experiment] = {experiment.name: experiment for experiment in map(load, PATHS)}
