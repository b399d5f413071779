"""Groups of flags: the network and its data, pruning, training, the machine.

The dataclasses are the single source of the flags. Each field carries its help text, its choices and whether it belongs
to the run's identity; `Utils/config/parser.py` generates the parser from them.
"""

from dataclasses import dataclass
from decimal import Decimal

from Utils.config.choices import (
    AUGMENTATION_NAMES,
    EFFECTIVE_ALIASES,
    EFFECTIVE_TYPES,
    LR_SCHEDULES,
    OPTIMIZERS,
    PRUNING_TYPES,
    WEIGHT_DECAY_SCOPES,
)
from Utils.config.fields import (
    AT_LEAST_ONE,
    AT_LEAST_TWO,
    DENSITY,
    EXPONENT,
    FRACTION,
    NOT_NEGATIVE,
    PAIR,
    PER_CHANNEL,
    PER_CHANNEL_POSITIVE,
    POSITIVE,
    RATE,
    RISING,
    ROUNDS,
    SHARES,
    SIZE,
    THREADS,
    setting,
)


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
    experiment_revision: int = setting(0, "revision of the experiment", flag=False)
    sample: int = setting(
        0, "the seed of all random choices; each seed is one sample", kind=int, many=True, check=NOT_NEGATIVE
    )
    out_path: str = setting("Results", "the results folder", identity=False)
    save: bool = setting(True, "save results", kind=bool, identity=False)
    save_predictions: bool = setting(
        False, "store what the final network says about each test image with its run", kind=bool, identity=False
    )
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
    target_density: Decimal | None = setting(
        None, "the fraction of weights to keep, instead of --target_sparsity", kind=Decimal, identity=False, many=True,
        check=DENSITY,
    )  # fmt: skip
    com_exp: Decimal | None = setting(
        None, "the compression 10^n to reach, instead of --target_sparsity", kind=Decimal, many=True, check=EXPONENT
    )
    prune_examples: int | None = setting(
        None, "training examples for criteria that use data", kind=int, check=AT_LEAST_TWO
    )
    weights_from: str | None = setting(
        None, "start from these weights: a checkpoint, or a run's folder or name", identity=False, many=True,
        placeholder="FILE|RUN",
    )  # fmt: skip
    weights_key: str | None = setting(None, "hash of the content of those weights", flag=False)
    masks_from: str | None = setting(
        None, "start from these masks: a file's, or those of a run's folder or name", identity=False, many=True,
        placeholder="FILE|RUN",
    )  # fmt: skip
    masks_key: str | None = setting(None, "hash of the content of those masks", flag=False)
    pruner_revision: str | None = setting(None, "revisions of the criteria", flag=False)
    pre_iterations: int | None = setting(
        None, "score the weights of a dense network trained for this many steps (default: as many as this one; 0: "
        "initial weights)", kind=int, check=NOT_NEGATIVE,
    )  # fmt: skip
    prune_iterations: int | None = setting(
        None, "rounds of scoring and pruning (default: that of the criterion)", kind=int, check=ROUNDS
    )
    schedule: str = setting("exponential", "how many weights each round prunes", choices="schedule")
    prune_unit: str = setting(
        "weight", "prune single weights, or whole output units and filters, which the target then counts",
        choices=("weight", "unit"),
    )  # fmt: skip
    draws: tuple[Decimal, ...] = setting(
        (Decimal("0.1275"), Decimal("0.1333"), Decimal("0.2")),
        "tiles of CRITERION/structured in the first, hidden and last layer, or in each: numbers, or fractions of the "
        "weights in active rows; the target decides how many of these are drawn", kind=Decimal, sequence=True,
        check=SHARES,
    )  # fmt: skip
    active_rows: tuple[Decimal, ...] = setting(
        (Decimal("0.06"), Decimal("0.3"), Decimal(1)),
        "units of the first, hidden and last layer, or of each, in which tiles of CRITERION/structured begin: numbers, "
        "or fractions up to 1", kind=Decimal, sequence=True, check=SHARES,
    )  # fmt: skip
    tile: tuple[int, ...] = setting(
        (2, 3), "units and inputs that a tile of CRITERION/structured reaches over", kind=int, sequence=True, check=PAIR
    )
    compute_aware: bool = setting(False, "divide the score of a unit by the multiply-adds that it costs", kind=bool)
    prune_bias: bool = setting(False, "also prune biases, and count them", kind=bool)
    prune_batchnorm: bool = setting(False, "also prune scales and shifts of batch normalisation", kind=bool)
    prune_residual: bool = setting(False, "also prune channels of identity skips", kind=bool)
    prune_train_mode: bool | None = setting(
        None, "score examples in training mode, or in evaluation mode (default: that of the recipe)", kind=bool
    )
    keep_alive: bool = setting(False, "keep an effective weight in each layer, on the best path through it", kind=bool)
    invert: bool = setting(False, "sanity check: reverse the ranking of the criterion", kind=bool)
    shuffle: bool = setting(False, "sanity check: permute the mask of each layer", kind=bool)
    reinitialize: bool = setting(False, "sanity check: train from other initial weights", kind=bool)

    @property
    def counts_units(self) -> bool:
        """Whether the target counts units instead of weights."""
        return self.prune_unit == "unit" and self.pruning_type == "direct"

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
    optimizer: str | None = setting(None, "the optimizer", choices=OPTIMIZERS, aliases={"rms": "rmsprop"})
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
    weight_decay: float | None = setting(None, "weight decay", kind=float, check=NOT_NEGATIVE)
    weight_decay_scope: str | None = setting(
        None, "the parameters that decay: kernels, or all of them, with biases and normalisation",
        choices=WEIGHT_DECAY_SCOPES,
    )  # fmt: skip
    batch_size: int | None = setting(None, "images per step", kind=int, check=AT_LEAST_TWO)
    accumulate: int = setting(
        1, "parts of each batch, computed one after another to save memory", kind=int,
        check=AT_LEAST_ONE,
    )  # fmt: skip
    augmentation: str | None = setting(None, "how training images are augmented", choices=AUGMENTATION_NAMES)
    augmentation_revision: int = setting(0, "revision of the augmentation", flag=False)
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
        "rounds sums differently, so training takes another course", kind=int, identity=False, check=THREADS,
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
