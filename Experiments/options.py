"""What can be set in each experiment alone? Readable without torch."""

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
_PART: Check = (lambda value: 0 <= value <= 1, "a fraction of the run, from 0 to 1")
_FRACTIONS: Check = (lambda values: values and all(0 <= k < 1 for k in values), "fractions, from 0 to less than 1")
_TWO: Check = (lambda value: value >= 2, "at least 2: what is united, and the last one")


@dataclass(frozen=True)
class Multishot:
    """Levels of training and pruning (`--experiment=multishot`)."""

    levels: int = setting(3, "times that the network is trained and pruned", kind=int, check=AT_LEAST_ONE)
    rewind: str = setting(
        "init", "to what weights go back after pruning: initial ones (init), those after so many iterations, or none: "
        "with the schedule of the learning rate from the start (lr), or at its end (none)", check=_REWIND,
        placeholder="init|none|lr|N",
    )  # fmt: skip


@dataclass(frozen=True)
class _WhileTraining:
    start_step: float = setting(0.0, "when pruning starts, as a fraction of the run", kind=float, check=_PART)
    prune_every: int = setting(100, "iterations from one pruning to the next", kind=int, check=AT_LEAST_ONE)


@dataclass(frozen=True)
class Gradual(_WhileTraining):
    """Pruning while training (`--experiment=gradual`)."""

    ramp: str = setting("cubic", "how sparsity changes from start to end", choices=RAMPS)
    initial_sparsity: Decimal = setting(
        Decimal(0), "what linear and cubic ramps begin with", kind=Decimal, check=FRACTION
    )
    end_step: float = setting(0.5, "when the target is reached, as a fraction of the run", kind=float, check=_PART)
    ramp_cycle: int | None = setting(
        None, "iterations of a cycle of half-cycle and full-cycle (default: a tenth of start to end)", kind=int,
        check=AT_LEAST_ONE,
    )  # fmt: skip
    carry_mask: bool = setting(False, "what is pruned stays pruned", kind=bool)


@dataclass(frozen=True)
class Dynamic:
    """Exchanging weights while training (`--experiment=dynamic`)."""

    grow: str = setting(
        "gradient", "which pruned weights return: those of the largest gradient (RigL), or any (SET)",
        choices=("gradient", "random"), aliases={"rigl": "gradient", "set": "random"},
    )  # fmt: skip
    drop_fraction: float = setting(
        0.3, "share of each layer's weights that is exchanged at first; it falls along half a cosine", kind=float,
        check=_PART,
    )  # fmt: skip
    exchange_every: int = setting(100, "iterations from one exchange to the next", kind=int, check=AT_LEAST_ONE)
    end_step: float = setting(0.75, "when the last exchange is, as a fraction of the run", kind=float, check=_PART)


@dataclass(frozen=True)
class TrainThenPrune:
    """Pruning a trained network without training on (`--experiment=train-then-prune`)."""

    k_vals: tuple[Decimal, ...] = setting(
        tuple(map(Decimal, ("0", "0.25", "0.5", "0.6", "0.7", "0.8", "0.9", "0.95", "0.97", "0.99"))),
        "shares of each hidden layer's weights, and of its units, that are pruned", kind=Decimal, sequence=True,
        check=_FRACTIONS,
    )  # fmt: skip
    keep_best: bool = setting(True, "prune the weights of the lowest validation loss, not the last", kind=bool)
    l1_reg: float = setting(
        0.0, "weight of the sum of hidden weights' sizes in the loss", kind=float, check=NOT_NEGATIVE
    )
    l2_reg: float = setting(
        0.0, "weight of the sum of hidden weights' squares in the loss", kind=float, check=NOT_NEGATIVE
    )


@dataclass(frozen=True)
class UnionMask(_WhileTraining):
    """Masks of several cycles of pruning, united (`--experiment=union-mask`)."""

    arm: str = setting(
        "union", "the method, or what it is compared with: a linear ramp with the recipe's learning rates (vanilla) or "
        "with those of the method (vanilla-cyclic)", choices=ARMS, many=True,
    )  # fmt: skip
    cycles: int = setting(10, "cycles of pruning; the last prunes the union of the others' masks", kind=int, check=_TWO)
    end_step: float | None = setting(
        None, "when the target is reached, as a fraction of the run (default: 0.95; vanilla: 0.5)", kind=float,
        check=_PART,
    )  # fmt: skip


def union_end(own: UnionMask) -> float:
    """When an arm's pruning ends, as a fraction of the run; the published values unless `--end_step` says otherwise."""
    if own.end_step is not None:
        return own.end_step
    return 0.5 if own.arm == "vanilla" else 0.95
