"""What can be set, and what names a run?

The dataclasses below are the single source of the flags: each field carries its help text, its choices and whether it
is part of a run's identity, and `Utils/config/parser.py` makes the parser from them.
"""

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from typing import Any

from Utils.config.choices import (
    AUGMENTATION_NAMES,
    DENSE,
    EFFECTIVE_ALIASES,
    EFFECTIVE_TYPES,
    LR_SCHEDULES,
    PRUNING_TYPES,
)
from Utils.config.fields import (
    AT_LEAST_ONE,
    AT_LEAST_TWO,
    EXPONENT,
    FRACTION,
    NOT_NEGATIVE,
    PER_CHANNEL,
    PER_CHANNEL_POSITIVE,
    POSITIVE,
    RATE,
    RISING,
    SIZE,
    setting,
)
from Utils.config.target import Target


@dataclass(frozen=True)
class Run:
    """Which network, on which data, and where the results go."""

    experiment: str = setting("singleshot", "what is done with each network", choices="experiment")
    architecture: str = setting("lenet300100", "the network", choices="architecture", many=True)
    pretrained: bool = setting(False, "start from torchvision's weights for ImageNet (imagenet/NAME only)", kind=bool)
    dense_classifier: bool = setting(False, "leave the last layer unpruned, and uncounted", kind=bool)
    data: str | None = setting(
        None, "the data set; left out: the architecture's own, or digits where that cannot be had", choices="data",
        aliases={"fashion": "fashion-mnist"},
    )  # fmt: skip
    path_to_data: str = setting("Data", "the folder that holds data sets or receives downloads", identity=False)
    image_size: tuple[int, ...] | None = setting(
        None, "height and width (or one number for both) that images are brought to (default: their own)", kind=int,
        sequence=True, check=SIZE,
    )  # fmt: skip
    mean: tuple[float, ...] | None = setting(
        None, "per channel, what normalisation subtracts, of images from 0 to 1 (default: the training set's own)",
        kind=float, sequence=True, check=PER_CHANNEL,
    )  # fmt: skip
    std: tuple[float, ...] | None = setting(
        None, "per channel, what normalisation divides by (default: the training set's own)", kind=float,
        sequence=True, check=PER_CHANNEL_POSITIVE,
    )  # fmt: skip
    data_key: str | None = setting(None, "stands for the content of an image folder", flag=False)
    architecture_key: str | None = setting(None, "stands for the source of a network of one's own", flag=False)
    sample: int = setting(
        0, "the seed: one more sample of every random choice", kind=int, many=True, check=NOT_NEGATIVE
    )
    out_path: str = setting("Results", "the folder that results are kept in", identity=False)
    save: bool = setting(True, "keep results", kind=bool, identity=False)
    overwrite: bool = setting(False, "run again what is complete already", kind=bool, identity=False)
    retry_failed: bool = setting(False, "run again what failed", kind=bool, identity=False)


@dataclass(frozen=True)
class Pruning:
    """Which weights go."""

    pruner: str = setting("snip", "criterion[/quota], or dense", choices="pruner", many=True)
    pruning_type: str = setting(
        "direct", "whether the target counts pruned or ineffective weights", choices=PRUNING_TYPES, many=True
    )
    effective_type: str = setting(
        "exact",
        "decide effectiveness per channel and position, or per channel",
        choices=EFFECTIVE_TYPES,
        aliases=EFFECTIVE_ALIASES,
    )
    target_sparsity: Decimal | None = setting(
        Decimal("0.9"), "the fraction of weights to remove", kind=Decimal, many=True, check=FRACTION
    )
    com_exp: Decimal | None = setting(
        None, "the compression 10^n to reach; wins over --target_sparsity", kind=Decimal, many=True, check=EXPONENT
    )
    prune_examples: int | None = setting(
        None, "training examples for criteria that need some", kind=int, check=AT_LEAST_TWO
    )
    weights_from: str | None = setting(
        None,
        "start from these weights: a checkpoint, or a run's folder or name",
        identity=False,
        placeholder="FILE|RUN",
    )
    weights_key: str | None = setting(None, "stands for the content of those weights", flag=False)
    masks_from: str | None = setting(
        None, "start from these masks: a mask file, or a run's folder or name", identity=False, placeholder="FILE|RUN"
    )
    masks_key: str | None = setting(None, "stands for the content of those masks", flag=False)
    pre_iterations: int | None = setting(
        None, "steps that the dense network was trained for whose weights are scored (default: as many as this one; "
        "0: initial weights)", kind=int, check=NOT_NEGATIVE,
    )  # fmt: skip
    prune_iterations: int | None = setting(
        None, "rounds of scoring and pruning (default: the criterion's own number)", kind=int, check=AT_LEAST_ONE
    )
    schedule: str = setting("exponential", "how many weights each round prunes", choices="schedule")
    prune_unit: str = setting(
        "weight", "what is pruned: single weights, or whole outputs and filters, which the target then counts",
        choices=("weight", "unit"),
    )  # fmt: skip
    compute_aware: bool = setting(False, "weigh units by the multiply-adds that they cost", kind=bool)
    prune_bias: bool = setting(False, "prune biases, too, and count them", kind=bool)
    prune_batchnorm: bool = setting(False, "prune scales and shifts of batch normalisation, too", kind=bool)
    prune_residual: bool = setting(False, "prune channels of identity skips, too", kind=bool)
    prune_train_mode: bool = setting(True, "score examples as in training, not as in a test", kind=bool)
    keep_alive: bool = setting(False, "leave each layer an effective weight: the best path through it", kind=bool)
    invert: bool = setting(False, "sanity check: turn the criterion's order round", kind=bool)
    shuffle: bool = setting(False, "sanity check: permute the mask of each layer", kind=bool)
    reinitialize: bool = setting(False, "sanity check: train from other initial weights", kind=bool)

    @property
    def kinds(self) -> tuple[str, ...]:
        """What is prunable beside kernels."""
        flags = {"bias": self.prune_bias, "batchnorm": self.prune_batchnorm, "residual": self.prune_residual}
        return tuple(kind for kind, is_on in flags.items() if is_on)


@dataclass(frozen=True)
class Training:
    """How a network is trained; what is left out comes from the recipe of architecture and data set."""

    train: bool = setting(True, "train the pruned network", kind=bool)
    iterations: int | None = setting(None, "optimizer steps", kind=int, check=NOT_NEGATIVE)
    epochs: int | None = setting(
        None, "passes over the training set, instead of --iterations", kind=int, check=NOT_NEGATIVE
    )
    optimizer: str | None = setting(
        None, "the optimizer", choices=("sgd", "momentum", "nesterov", "adam", "rmsprop"), aliases={"rms": "rmsprop"}
    )
    lr: float | None = setting(None, "the initial learning rate", kind=float, check=POSITIVE)
    lr_drops: tuple[int, ...] | None = setting(
        None, "iterations at which the learning rate drops", kind=int, sequence=True, check=RISING
    )
    lr_drop_rate: float | None = setting(None, "the factor of each drop", kind=float, check=RATE)
    lr_schedule: str | None = setting(
        None, "how the learning rate changes: drops, not at all, ...", choices=LR_SCHEDULES
    )
    lr_cycle: tuple[int, ...] | None = setting(
        None, "iterations in which a cyclic rate rises, and those in which it falls (default: as many; 5000)",
        kind=int, sequence=True, check=SIZE,
    )  # fmt: skip
    warmup: int | None = setting(
        None, "iterations in which the learning rate rises to its schedule's", kind=int, check=NOT_NEGATIVE
    )
    momentum: float | None = setting(None, "momentum of momentum and nesterov", kind=float, check=FRACTION)
    weight_decay: float | None = setting(None, "weight decay, on kernels only", kind=float, check=NOT_NEGATIVE)
    batch_size: int | None = setting(None, "images per step", kind=int, check=AT_LEAST_TWO)
    accumulate: int = setting(
        1, "parts that each batch is computed in, one after the other, to need less memory", kind=int,
        check=AT_LEAST_ONE,
    )  # fmt: skip
    augmentation: str | None = setting(None, "how training images vary", choices=AUGMENTATION_NAMES)
    batchnorm: str = setting(
        "running", "at test time, normalise with running statistics or the batch's own", choices=("running", "batch")
    )
    validation: int = setting(0, "training images held out for validation", kind=int, check=NOT_NEGATIVE)
    evaluate_every: int | None = setting(None, "iterations between evaluations", kind=int, check=POSITIVE)


@dataclass(frozen=True)
class Machine:
    """Where it runs."""

    device: str = setting("auto", "the processor", choices=("auto", "cpu", "cuda"), identity=False)
    precision: str = setting("fp32", "numbers of the forward and backward passes", choices=("fp32", "bf16"))
    compile: bool = setting(False, "compile the network before training", kind=bool, identity=False)
    threads: int | None = setting(
        None, "threads of the processor for each network (default: one for small ones, else all); another number of "
        "threads rounds sums otherwise, and training goes its own way", kind=int, identity=False, check=AT_LEAST_ONE,
    )  # fmt: skip
    launcher: str = setting(
        "local", "what carries out runs: this machine, or Ray, here or on a cluster", choices=("local", "ray"),
        identity=False,
    )  # fmt: skip
    workers: int | None = setting(
        None, "networks that are made at the same time (default: 1; with Ray, as many as there is room for)", kind=int,
        identity=False, check=AT_LEAST_ONE,
    )  # fmt: skip
    ray_address: str | None = setting(
        None, "the Ray cluster: HOST:PORT, or auto for one that runs here (default: a new one, here)", identity=False,
        placeholder="ADDRESS",
    )  # fmt: skip
    gpus: float | None = setting(
        None, "with Ray, GPUs for each network, of which several can share one (default: one, where there are any)",
        kind=float, identity=False, check=NOT_NEGATIVE,
    )  # fmt: skip
    checkpoint_every: int | None = setting(
        None, "steps after which a network can go on if it is interrupted (default: those of five minutes; 0: none)",
        kind=int, identity=False, check=NOT_NEGATIVE,
    )  # fmt: skip
    tensorboard: str | None = setting(None, "also write every evaluation there, for TensorBoard", identity=False)


GROUPS: dict[str, type] = {"run": Run, "pruning": Pruning, "training": Training, "machine": Machine}


@dataclass(frozen=True)
class Settings:
    """All settings of one run."""

    run: Run = Run()
    pruning: Pruning = Pruning()
    training: Training = Training()
    machine: Machine = Machine()
    options: Any = None
    """The experiment's own settings, a dataclass of its file."""

    @property
    def target(self) -> Target:
        """How much is kept."""
        return Target(self.pruning.target_sparsity, self.pruning.com_exp)

    def groups(self) -> dict[str, Any]:
        """The settings dataclasses by name, the options of the experiment last."""
        groups = {"run": self.run, "pruning": self.pruning, "training": self.training, "machine": self.machine}
        return groups if self.options is None else groups | {"options": self.options}

    def with_values(self, **values: Any) -> "Settings":
        """A copy with some fields, of any group, replaced."""
        groups = {}
        for name, group in self.groups().items():
            own = {key: values.pop(key) for key in list(values) if hasattr(group, key)}
            groups[name] = dataclasses.replace(group, **own) if own else group
        if values:
            raise TypeError(f"there are no settings {', '.join(values)}")
        return Settings(**groups)

    def values(self) -> dict[str, Any]:
        """Every field of every group by name."""
        return {name: value for group in self.groups().values() for name, value in vars(group).items()}

    def identity(self) -> dict[str, Any]:
        """What names the run: each identity field that differs from its default, as JSON can hold it.

        Defaults are left out, so a field that is added later orphans no result of before.
        """
        fields = (item for group in self.groups().values() for item in dataclasses.fields(group))
        values = self.values()
        return {
            item.name: plain(values[item.name])
            for item in fields
            if item.metadata["identity"] and values[item.name] != item.default
        }

    def key(self) -> str:
        """Ten hexadecimal digits that stand for the identity."""
        return self._key

    @cached_property
    def _key(self) -> str:
        text = json.dumps(self.identity(), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:10]

    def title(self) -> str:
        """The run in a few words, for progress bars and messages."""
        words = f"{self.run.architecture} {self.run.data} {self.pruning.pruner}"
        if self.pruning.pruner != DENSE:
            is_power = self.pruning.com_exp is not None
            amount = f"10^{self.pruning.com_exp}x" if is_power else f"{self.pruning.target_sparsity}"
            words += f" {self.pruning.pruning_type} {amount}"
        return f"{words} sample {self.run.sample}"


def plain(value: Any) -> Any:
    """A value as JSON can hold it; equal numbers become equal texts."""
    if isinstance(value, Decimal):
        text = format(value, "f")
        return (text.rstrip("0").rstrip(".") or "0") if "." in text else text
    return [plain(item) for item in value] if isinstance(value, tuple) else value


def as_flags(values: dict[str, Any]) -> str:
    """Settings as one would type them."""

    def text(value: Any) -> str:
        if isinstance(value, bool):
            return str(int(value))
        return ",".join(map(str, value)) if isinstance(value, list) else str(value)

    return " ".join(f"--{name}={text(plain(value))}" for name, value in values.items())
