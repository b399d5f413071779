"""Options of experiments: the flags that belong to one experiment each. Loads no PyTorch."""

from dataclasses import dataclass
from decimal import Decimal

from Utils.config.fields import AT_LEAST_ONE, FRACTION, NOT_NEGATIVE, Check, setting

REWINDS = ("init", "none", "lr")
RAMPS = ("linear", "cubic", "half-cycle", "full-cycle", "constant")
ARMS = ("union", "vanilla", "vanilla-cyclic")

_REWIND: Check = (
    lambda value: value in REWINDS or (value.isascii() and value.isdecimal()),
    f"{', '.join(REWINDS)} or a number of iterations",
)
_RUN_FRACTION: Check = (lambda value: 0 <= value <= 1, "a fraction of the run, from 0 to 1")
_SHARE: Check = (lambda value: 0 <= value <= 1, "a fraction of the weights, from 0 to 1")
_FRACTIONS: Check = (lambda values: values and all(0 <= k < 1 for k in values), "fractions, from 0 to less than 1")
_TWO: Check = (lambda value: value >= 2, "at least 2: one whose mask joins the union, and the last one")


@dataclass(frozen=True)
class Multishot:
    """Levels of training and pruning (`--experiment=multishot`)."""

    levels: int = setting(3, "how often the network is pruned and trained again", kind=int, check=AT_LEAST_ONE)
    rewind: str = setting(
        "init", "the state to rewind to after pruning: initial weights (init), weights after N iterations, or only the "
        "learning-rate schedule (lr); none: train on at the last learning rate", check=_REWIND,
        placeholder="init|none|lr|N",
    )  # fmt: skip


@dataclass(frozen=True)
class _WhileTraining:
    """Options of experiments that prune during training."""

    start_step: float = setting(0.0, "when pruning starts, as a fraction of the run", kind=float, check=_RUN_FRACTION)
    prune_every: int = setting(100, "iterations from one pruning to the next", kind=int, check=AT_LEAST_ONE)


@dataclass(frozen=True)
class Gradual(_WhileTraining):
    """Gradual pruning during training (`--experiment=gradual`)."""

    ramp: str = setting("cubic", "how sparsity changes from start to end", choices=RAMPS)
    initial_sparsity: Decimal = setting(
        Decimal(0), "sparsity at the start of linear and cubic ramps", kind=Decimal, check=FRACTION
    )
    end_step: float = setting(
        0.5, "when the target is reached, as a fraction of the run", kind=float, check=_RUN_FRACTION
    )
    ramp_cycle: int | None = setting(
        None, "iterations of a cycle of half-cycle and full-cycle (default: a tenth of the ramp)", kind=int,
        check=AT_LEAST_ONE,
    )  # fmt: skip
    carry_mask: bool = setting(False, "pruned weights stay pruned", kind=bool)


@dataclass(frozen=True)
class Dynamic:
    """Exchange of weights during training (`--experiment=dynamic`)."""

    grow: str = setting(
        "gradient", "which pruned weights return: those with the largest gradient (RigL), or random ones (SET)",
        choices=("gradient", "random"), aliases={"rigl": "gradient", "set": "random"},
    )  # fmt: skip
    drop_fraction: float = setting(
        0.3, "fraction of each layer's weights in the first exchange; it falls along half a cosine", kind=float,
        check=_SHARE,
    )  # fmt: skip
    exchange_every: int = setting(100, "iterations from one exchange to the next", kind=int, check=AT_LEAST_ONE)
    end_step: float = setting(0.75, "when exchanges end, as a fraction of the run", kind=float, check=_RUN_FRACTION)


@dataclass(frozen=True)
class TrainThenPrune:
    """Pruning after training, without retraining (`--experiment=train-then-prune`)."""

    k_vals: tuple[Decimal, ...] = setting(
        tuple(map(Decimal, ("0", "0.25", "0.5", "0.6", "0.7", "0.8", "0.9", "0.95", "0.97", "0.99"))),
        "fractions of each hidden layer's weights, and of its units, to prune", kind=Decimal, sequence=True,
        check=_FRACTIONS,
    )  # fmt: skip
    keep_best: bool = setting(
        True, "prune the weights with the lowest validation loss, not the last weights", kind=bool
    )
    l1_reg: float = setting(
        0.0, "coefficient in the loss of the sum of absolute hidden weights", kind=float, check=NOT_NEGATIVE
    )
    l2_reg: float = setting(
        0.0, "coefficient in the loss of the sum of squared hidden weights", kind=float, check=NOT_NEGATIVE
    )


@dataclass(frozen=True)
class UnionMask(_WhileTraining):
    """Union of the masks of several cycles of pruning (`--experiment=union-mask`)."""

    arm: str = setting(
        "union", "the method (union), or a baseline: one linear ramp with the learning rates of the recipe (vanilla) "
        "or of the method (vanilla-cyclic)", choices=ARMS, many=True,
    )  # fmt: skip
    cycles: int = setting(10, "cycles of pruning; the last prunes the union of the other masks", kind=int, check=_TWO)
    end_step: float | None = setting(
        None, "when the target is reached, as a fraction of the run (default: 0.95; vanilla: 0.5)", kind=float,
        check=_RUN_FRACTION,
    )  # fmt: skip


def union_end(options: UnionMask) -> float:
    """The end of pruning, as a fraction of the run: `--end_step`, by default the published value of the arm."""
    if options.end_step is not None:
        return options.end_step
    return 0.5 if options.arm == "vanilla" else 0.95
