"""Resolved parts of settings: what data is read, which network is built and how it is trained, every value decided."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Recipe:
    """The training settings of a resolved run. The defaults are those of a run that trains nothing."""

    train: bool = True
    iterations: int = 0
    batch_size: int = 1
    accumulate: int = 1
    """Parts in which a batch is computed."""
    evaluate_every: int = 1
    optimizer: str = "sgd"
    lr: float = 0.0
    lr_schedule: str = "step"
    lr_drops: tuple[int, ...] = ()
    lr_drop_rate: float = 1.0
    lr_cycle: tuple[int, ...] = (5000,)
    warmup: int = 0
    momentum: float = 0.0
    weight_decay: float = 0.0
    weight_decay_scope: str = "kernels"
    augmentation: str = "none"
    batchnorm: str = "running"

    @classmethod
    def of(cls, training: Any) -> Recipe:
        """The recipe of the settings `Training` of a resolved run."""
        values = {item.name: getattr(training, item.name) for item in dataclasses.fields(cls)}
        return cls(**{name: value for name, value in values.items() if value is not None})


@dataclass(frozen=True)
class DataSpec:
    """The data set of a run, its image shape, and the number of held-out images."""

    name: str
    path: str
    architecture: str
    """The network whose image shape is the default."""
    image_size: tuple[int, ...] | None
    mean: tuple[float, ...] | None
    std: tuple[float, ...] | None
    validation: int
    sample: int
    """The seed that decides which images are held out."""

    @classmethod
    def of(cls, run: Any, training: Any) -> DataSpec:
        """The data of the settings `Run` and `Training`, whose data set is decided."""
        assert run.data is not None
        size, mean, std = run.image_size, run.mean, run.std
        return cls(run.data, run.path_to_data, run.architecture, size, mean, std, training.validation, run.sample)


@dataclass(frozen=True)
class NetworkSpec:
    """The network that a run starts with: its weights, its masks, and which of its parameters are prunable."""

    architecture: str
    batchnorm: str
    sample: int
    """The seed of initial weights."""
    pretrained: bool
    dense_classifier: bool
    kinds: tuple[str, ...]
    """Kinds of prunable parameters besides kernels."""
    weights_from: str | None
    masks_from: str | None
    results: str
    """The folder in which runs are found by name."""

    @classmethod
    def of(cls, run: Any, pruning: Any, training: Any) -> NetworkSpec:
        """The network of the settings `Run`, `Pruning` and `Training`."""
        network = run.architecture, training.batchnorm, run.sample, run.pretrained, run.dense_classifier
        return cls(*network, pruning.kinds, pruning.weights_from, pruning.masks_from, run.out_path)
