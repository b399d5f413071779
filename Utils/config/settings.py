"""Settings of a run: one dataclass per group of flags, and the identity that names the run.

The dataclasses are the single source of the flags. Each field carries its help text, its choices and whether it belongs
to the run's identity; `Utils/config/parser.py` generates the parser from them.
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
    plain,
    setting,
)
from Utils.config.resolved import DataSpec, NetworkSpec, Recipe
from Utils.config.target import Target


@dataclass(frozen=True)
class Run:
    """The network, its data, and the results folder."""

    experiment: str = setting("singleshot", "the experiment that each network goes through", choices="experiment")
    architecture: str = setting("lenet300100", "the network", choices="architecture", many=True)
    pretrained: bool = setting(False, "start from torchvision's ImageNet weights (imagenet/NAME only)", kind=bool)
    dense_classifier: bool = setting(False, "do not prune or count the last layer", kind=bool)
    data: str | None = setting(
        None, "the data set (default: that of the architecture, or digits if it is not available)", choices="data",
        aliases={"fashion": "fashion-mnist"},
    )  # fmt: skip
    path_to_data: str = setting("Data", "the folder that holds data sets or receives downloads", identity=False)
    image_size: tuple[int, ...] | None = setting(
        None, "resize images to this height and width, or one number for both (default: keep their size)", kind=int,
        sequence=True, check=SIZE,
    )  # fmt: skip
    mean: tuple[float, ...] | None = setting(
        None, "mean of pixels in [0, 1] that normalisation subtracts, one or per channel (default: the training set's)",
        kind=float, sequence=True, check=PER_CHANNEL,
    )  # fmt: skip
    std: tuple[float, ...] | None = setting(
        None, "standard deviation that normalisation divides by, one or per channel (default: the training set's)",
        kind=float, sequence=True, check=PER_CHANNEL_POSITIVE,
    )  # fmt: skip
    data_key: str | None = setting(None, "hash of the content of an image folder", flag=False)
    architecture_key: str | None = setting(None, "hash of the source of a user-defined network", flag=False)
    inputs_key: str | None = setting(None, "hash of the keys of the runs that a study reads", flag=False)
    sample: int = setting(
        0, "the seed of all random choices; each seed is one sample", kind=int, many=True, check=NOT_NEGATIVE
    )
    out_path: str = setting("Results", "the results folder", identity=False)
    save: bool = setting(True, "save results", kind=bool, identity=False)
    overwrite: bool = setting(False, "repeat complete runs", kind=bool, identity=False)
    retry_failed: bool = setting(False, "repeat failed runs", kind=bool, identity=False)


@dataclass(frozen=True)
class Pruning:
    """Which weights are pruned."""

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
        None, "the compression 10^n to reach, instead of --target_sparsity", kind=Decimal, many=True, check=EXPONENT
    )
    prune_examples: int | None = setting(
        None, "training examples for criteria that use data", kind=int, check=AT_LEAST_TWO
    )
    weights_from: str | None = setting(
        None, "start from these weights: a checkpoint, or a run's folder or name", identity=False,
        placeholder="FILE|RUN",
    )  # fmt: skip
    weights_key: str | None = setting(None, "hash of the content of those weights", flag=False)
    masks_from: str | None = setting(
        None, "start from these masks: a file's, or those of a run's folder or name", identity=False,
        placeholder="FILE|RUN",
    )  # fmt: skip
    masks_key: str | None = setting(None, "hash of the content of those masks", flag=False)
    pre_iterations: int | None = setting(
        None, "score the weights of a dense network trained for this many steps (default: as many as this one; 0: "
        "initial weights)", kind=int, check=NOT_NEGATIVE,
    )  # fmt: skip
    prune_iterations: int | None = setting(
        None, "rounds of scoring and pruning (default: that of the criterion)", kind=int, check=AT_LEAST_ONE
    )
    schedule: str = setting("exponential", "how many weights each round prunes", choices="schedule")
    prune_unit: str = setting(
        "weight", "prune single weights, or whole output units and filters, which the target then counts",
        choices=("weight", "unit"),
    )  # fmt: skip
    compute_aware: bool = setting(False, "divide the score of a unit by the multiply-adds that it costs", kind=bool)
    prune_bias: bool = setting(False, "also prune biases, and count them", kind=bool)
    prune_batchnorm: bool = setting(False, "also prune scales and shifts of batch normalisation", kind=bool)
    prune_residual: bool = setting(False, "also prune channels of identity skips", kind=bool)
    prune_train_mode: bool = setting(True, "score in training mode instead of evaluation mode", kind=bool)
    keep_alive: bool = setting(False, "keep an effective weight in each layer, on the best path through it", kind=bool)
    invert: bool = setting(False, "sanity check: reverse the ranking of the criterion", kind=bool)
    shuffle: bool = setting(False, "sanity check: permute the mask of each layer", kind=bool)
    reinitialize: bool = setting(False, "sanity check: train from other initial weights", kind=bool)

    @property
    def kinds(self) -> tuple[str, ...]:
        """Kinds of prunable parameters besides kernels."""
        flags = {"bias": self.prune_bias, "batchnorm": self.prune_batchnorm, "residual": self.prune_residual}
        return tuple(kind for kind, is_on in flags.items() if is_on)


@dataclass(frozen=True)
class Training:
    """How a network is trained; values that you leave out come from the recipe for the architecture and data set."""

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
    lr_schedule: str | None = setting(None, "how the learning rate changes", choices=LR_SCHEDULES)
    lr_cycle: tuple[int, ...] | None = setting(
        None, "iterations of the rise and of the fall of a cyclic rate, or one number for both (default: 5000)",
        kind=int, sequence=True, check=SIZE,
    )  # fmt: skip
    warmup: int | None = setting(
        None, "iterations of linear warm-up of the learning rate", kind=int, check=NOT_NEGATIVE
    )
    momentum: float | None = setting(None, "momentum of momentum and nesterov", kind=float, check=FRACTION)
    weight_decay: float | None = setting(None, "weight decay, on kernels only", kind=float, check=NOT_NEGATIVE)
    batch_size: int | None = setting(None, "images per step", kind=int, check=AT_LEAST_TWO)
    accumulate: int = setting(
        1, "parts of each batch, computed one after another to save memory", kind=int,
        check=AT_LEAST_ONE,
    )  # fmt: skip
    augmentation: str | None = setting(None, "how training images are augmented", choices=AUGMENTATION_NAMES)
    batchnorm: str = setting(
        "running", "evaluate with running statistics or those of the batch", choices=("running", "batch")
    )
    validation: int = setting(0, "training images held out for validation", kind=int, check=NOT_NEGATIVE)
    evaluate_every: int | None = setting(None, "iterations between evaluations", kind=int, check=POSITIVE)


@dataclass(frozen=True)
class Machine:
    """The device, worker processes and checkpoints."""

    device: str = setting("auto", "the device", choices=("auto", "cpu", "cuda"), identity=False)
    precision: str = setting("fp32", "number format of the forward and backward passes", choices=("fp32", "bf16"))
    compile: bool = setting(False, "compile the network before training", kind=bool, identity=False)
    threads: int | None = setting(
        None, "CPU threads for each network (default: one for small networks, else all); another number of threads "
        "rounds sums differently, so training takes another course", kind=int, identity=False, check=AT_LEAST_ONE,
    )  # fmt: skip
    launcher: str = setting(
        "local", "execute runs on this machine, or with Ray, here or on a cluster", choices=("local", "ray"),
        identity=False,
    )  # fmt: skip
    workers: int | None = setting(
        None, "networks to run at the same time (default: 1; with Ray, as many as fit)", kind=int,
        identity=False, check=AT_LEAST_ONE,
    )  # fmt: skip
    ray_address: str | None = setting(
        None, "the Ray cluster: HOST:PORT, or auto for one that runs here (default: start one here)", identity=False,
        placeholder="ADDRESS",
    )  # fmt: skip
    gpus: float | None = setting(
        None, "with Ray, GPUs for each network; a fraction shares a GPU (default: 1 if there are GPUs, else 0)",
        kind=float, identity=False, check=NOT_NEGATIVE,
    )  # fmt: skip
    checkpoint_every: int | None = setting(
        None, "steps between checkpoints, from which interrupted runs resume (default: 5 minutes of steps; 0: none)",
        kind=int, identity=False, check=NOT_NEGATIVE,
    )  # fmt: skip
    tensorboard: str | None = setting(None, "write every evaluation to this folder for TensorBoard", identity=False)


GROUPS: dict[str, type] = {"run": Run, "pruning": Pruning, "training": Training, "machine": Machine}


@dataclass(frozen=True)
class Settings:
    """All settings of one run."""

    run: Run = Run()
    pruning: Pruning = Pruning()
    training: Training = Training()
    machine: Machine = Machine()
    options: Any = None
    """Settings of the experiment alone, a dataclass in its file."""
    is_study: bool = False
    """Whether the run is not about one network: its folder is named by the experiment and the key alone."""

    @cached_property
    def recipe(self) -> Recipe:
        """How the network is trained, for a resolved run."""
        return Recipe.of(self.training)

    @property
    def data_spec(self) -> DataSpec:
        """The data that the run reads."""
        return DataSpec.of(self.run, self.training)

    @property
    def network_spec(self) -> NetworkSpec:
        """The network that the run starts with."""
        return NetworkSpec.of(self.run, self.pruning, self.training)

    @property
    def target(self) -> Target:
        """The pruning target."""
        return Target(self.pruning.target_sparsity, self.pruning.com_exp)

    def groups(self) -> dict[str, Any]:
        """The settings dataclasses by group name, the options of the experiment last."""
        groups = {"run": self.run, "pruning": self.pruning, "training": self.training, "machine": self.machine}
        return groups if self.options is None else groups | {"options": self.options}

    def with_values(self, **values: Any) -> "Settings":
        """A copy with some fields of any groups replaced; raises `TypeError` for an unknown field."""
        groups = {}
        for name, group in self.groups().items():
            changes = {key: values.pop(key) for key in list(values) if hasattr(group, key)}
            groups[name] = dataclasses.replace(group, **changes) if changes else group
        if values:
            raise TypeError(f"there are no settings {', '.join(values)}")
        return Settings(**groups, is_study=self.is_study)

    def values(self) -> dict[str, Any]:
        """The values of all fields of all groups, by field name."""
        return {name: value for group in self.groups().values() for name, value in vars(group).items()}

    def identity(self) -> dict[str, Any]:
        """The identity of the run: JSON-compatible values of the identity fields that differ from their defaults.

        Defaults are omitted, so that a new field orphans no earlier result.
        """
        fields = (item for group in self.groups().values() for item in dataclasses.fields(group))
        values = self.values()
        return {
            item.name: plain(values[item.name])
            for item in fields
            if item.metadata["identity"] and values[item.name] != item.default
        }

    def key(self) -> str:
        """The run key: ten hexadecimal digits, a hash of the identity."""
        return self._key

    @cached_property
    def _key(self) -> str:
        text = json.dumps(self.identity(), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:10]

    def title(self) -> str:
        """A short description of the run for progress bars and messages."""
        words = f"{self.run.architecture} {self.run.data} {self.pruning.pruner}"
        if self.pruning.pruner != DENSE:
            is_power = self.pruning.com_exp is not None
            amount = f"10^{self.pruning.com_exp}x" if is_power else f"{self.pruning.target_sparsity}"
            words += f" {self.pruning.pruning_type} {amount}"
        return f"{words} sample {self.run.sample}"
