"""Search for a mask: the accuracy of a subnetwork that is found by training the mask of random weights.

    python main.py --experiment=supermask --algorithm=gem-miner --architecture=gem-miner/fc --target_density=0.1

Weights are frozen at random values while a score per weight is trained; the rounded scores are the mask of every
forward pass. Gem-Miner freezes the lowest scores out in steps until the target density is left. Then the masks are
fixed, and the weights are fine-tuned from their initial values. `search.csv` has a row for each epoch. Sanity checks
fine-tune the same network with its mask shuffled or inverted, with other weights, or both (`--sanity_checks`).

Takes as long as two dense trainings, and one more for each sanity check; steps of edge-popup, which sorts its scores,
take about three times as long on a CPU.
"""

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields
from decimal import Decimal
from typing import Any, NamedTuple

from Experiments.base import Experiment
from Pruners.learned import LEARNED
from Pruners.schedules.freezing import FreezingSchedule
from Utils.config.choices import LR_SCHEDULES, OPTIMIZERS, UNCHANGED, WEIGHT_INITS
from Utils.config.fields import AT_LEAST_ONE, FRACTION, NOT_NEGATIVE, POSITIVE, RISING, Check, setting
from Utils.config.settings import Settings
from Utils.errors import UserError

SCORE_INITS = ("uniform", "half", "bernoulli", "bimodal", "skew", "kaiming-uniform")
PENALTIES = ("l2", "l1", "l1-l2", "variance", "weighted-variance", "entropy")
CHECKS = ("shuffle", "reinitialize", "invert", "random")

_TWO: Check = (lambda values: len(values) == 2 and min(values) > 0, "two numbers greater than 0")
_ENDS: Check = (
    lambda values: len(values) == 2 and all(0 < value <= 1 for value in values), "two fractions, those to keep"
)  # fmt: skip


class Algorithm(NamedTuple):
    """How an algorithm finds its mask."""

    is_search: bool = True
    """Whether scores are trained."""
    is_clamped: bool = False
    """Whether scores stay in [0, 1] and round at a threshold; otherwise the largest absolute scores are kept."""
    freezes: bool = False
    """Whether entries are frozen out in steps."""
    is_iterative: bool = False
    """Whether fewer scores are kept in steps."""
    is_global: bool = True
    """Whether the scores of all layers compete."""
    weight_init: str = "signed-constant"
    score_init: str = "kaiming-uniform"
    score_penalty: str = "none"

    @property
    def has_steps(self) -> bool:
        """Whether `--freeze_every` has an effect."""
        return self.freezes or self.is_iterative


ALGORITHMS = {
    "gem-miner": Algorithm(is_clamped=True, freezes=True, score_init="uniform", score_penalty="l2"),
    "hypercube": Algorithm(is_clamped=True, score_init="uniform", score_penalty="l2"),
    "edge-popup": Algorithm(is_global=False),
    "global-edge-popup": Algorithm(),
    "iterative-edge-popup": Algorithm(is_iterative=True),
    "smart-ratio": Algorithm(is_search=False, weight_init=UNCHANGED),
}
assert ALGORITHMS.keys() == LEARNED.keys()


@dataclass(frozen=True)
class SupermaskOptions:
    """Search for a mask by training it, then fine-tuning (`--experiment=supermask`)."""

    algorithm: str = setting("gem-miner", "how the mask is found", choices=tuple(ALGORITHMS), many=True)
    weight_init: str | None = setting(
        None, "values of the weights that the mask selects from; constants keep the signs of the network's initial "
        "weights (default: signed-constant; smart-ratio: unchanged)", choices=(*WEIGHT_INITS, UNCHANGED),
    )  # fmt: skip
    scale_fan: bool = setting(
        False, "draw weights as if each unit had only the target density of its inputs", kind=bool
    )
    score_init: str | None = setting(
        None, "initial scores (default: uniform in [0, 1]; edge-popup: kaiming-uniform)", choices=SCORE_INITS
    )
    score_penalty: str | None = setting(
        None, "penalty of the scores in the loss (default: l2; edge-popup: none)", choices=("none", *PENALTIES)
    )
    penalty_strength: float = setting(1e-4, "factor of that penalty", kind=float, check=POSITIVE)
    penalty_exponents: tuple[float, ...] = setting(
        (1.0, 1.0), "exponents of p and of 1 - p in the penalty `variance`", kind=float, sequence=True, check=_TWO
    )
    clamp_forward: bool = setting(
        False, "clamp scores in the forward pass, instead of moving them back to [0, 1] after each step", kind=bool
    )
    quantize: bool = setting(True, "search with the rounded scores, not with the scores themselves", kind=bool)
    threshold: float = setting(0.5, "scores above it are kept", kind=float, check=FRACTION)
    rounding: str = setting(
        "threshold", "how the final mask is rounded: by the threshold, or each entry with its score as probability",
        choices=("threshold", "probabilistic"),
    )  # fmt: skip
    unflag: bool = setting(False, "keep all entries that are not frozen out, whatever their scores", kind=bool)
    freeze_every: int = setting(5, "epochs from one freezing to the next", kind=int, check=AT_LEAST_ONE)
    freeze_rule: str = setting(
        "global", "which entries are frozen out: the lowest scores of all layers, of each layer, or all scores up to "
        "the threshold", choices=("global", "layer", "threshold"),
    )  # fmt: skip
    stop_freezing: int | None = setting(
        None, "the last epoch after which entries are frozen out (default: the last epoch)", kind=int,
        check=AT_LEAST_ONE,
    )  # fmt: skip
    smart_ratio_ends: tuple[float, ...] | None = setting(
        None, "fractions of weights to keep in the first and in the last layer (default: by the rule, and 0.3)",
        kind=float, sequence=True, check=_ENDS,
    )  # fmt: skip
    fine_tune_length: float = setting(
        1.0, "iterations of fine-tuning, as a multiple of those of the search", kind=float, check=NOT_NEGATIVE
    )
    fine_tune_optimizer: str = setting("momentum", "the optimizer of fine-tuning", choices=OPTIMIZERS)
    fine_tune_lr: float = setting(0.01, "the initial learning rate of fine-tuning", kind=float, check=POSITIVE)
    fine_tune_lr_schedule: str = setting(
        "constant", "how the learning rate of fine-tuning changes", choices=LR_SCHEDULES
    )
    fine_tune_lr_drops: tuple[int, ...] | None = setting(
        None, "iterations of fine-tuning at which its rate drops to a tenth (default: the program's table)", kind=int,
        sequence=True, check=RISING,
    )  # fmt: skip
    fine_tune_weight_decay: float = setting(
        1e-4, "weight decay of fine-tuning; --weight_decay is that of the scores", kind=float, check=NOT_NEGATIVE
    )
    fine_tune_biases: bool = setting(True, "fine-tune biases and shifts, too", kind=bool)
    sanity_checks: tuple[str, ...] = setting(
        (), "also fine-tune copies: with the mask of each layer shuffled, with other weights, with the complement of "
        "the mask, or with a random mask of the same layer densities and other weights", choices=CHECKS, sequence=True,
    )  # fmt: skip

    @property
    def how(self) -> Algorithm:
        """How the algorithm finds its mask."""
        return ALGORITHMS[self.algorithm]

    @property
    def penalty(self) -> str:
        """The penalty of the scores, or `none`."""
        return self.score_penalty or self.how.score_penalty

    @property
    def new_weights(self) -> str | None:
        """The distribution of the weights that the mask selects from; None: the initial ones of the network."""
        name = self.weight_init or self.how.weight_init
        return None if name == UNCHANGED else name

    def fine_tune_iterations(self, iterations: int) -> int:
        """Iterations of fine-tuning after a search of `iterations`."""
        return round(self.fine_tune_length * iterations)

    @property
    def has_target(self) -> bool:
        """Whether the number of weights to keep is given."""
        return not self.how.is_clamped or (self.how.freezes and self.freeze_rule != "threshold")


_UNSCORED = (
    "prune_examples", "prune_train_mode", "pre_iterations", "prune_iterations", "schedule", "prune_unit",
    "compute_aware", "keep_alive", "invert", "effective_type",
)  # fmt: skip


class Supermask(Experiment):
    """Search for a mask of frozen weights by training it, then fine-tune the weights."""

    name = "supermask"
    about = "train the mask of frozen random weights, then fine-tune these (Gem-Miner, edge-popup)"
    implementation = "Experiments.runs.supermask:run"
    Options = SupermaskOptions
    tests_each_epoch = True

    def resolve(self, settings: Settings, given: Collection[str] = ()) -> Settings:
        """Values that are those of the algorithm anyway are left out."""
        options = settings.options
        usual = {name: None for name in _BY_ALGORITHM if vars(options)[name] == getattr(options.how, name)}
        checks = tuple(check for check in CHECKS if check in options.sanity_checks)
        return settings.with_values(**usual, sanity_checks=checks)

    def fixed(self, settings: Settings) -> Mapping[str, Any]:
        """Results name the algorithm as their pruner; a penalty alone has no target."""
        values: dict[str, Any] = {"pruner": settings.options.algorithm}
        if not settings.options.has_target:
            values |= {"target_sparsity": Decimal(0), "com_exp": None}
        return values

    def check(self, settings: Settings) -> None:
        """A mask is found by a training, in which at least one epoch is followed by freezing."""
        if not settings.training.train:
            raise UserError(f"--experiment={self.name} trains masks and weights, so it excludes --train=0")
        options, epochs = settings.options, search_epochs(settings)
        if options.how.has_steps:
            FreezingSchedule(epochs, options.freeze_every, options.stop_freezing)
            if (options.stop_freezing or 0) >= epochs:
                last = f"the last epoch of the search is {epochs - 1}, because the first is 0"
                raise UserError(f"--stop_freezing={options.stop_freezing} comes too late: {last}")
        longest = options.fine_tune_iterations(settings.training.iterations or 0)
        late = [str(drop) for drop in options.fine_tune_lr_drops or () if drop >= longest]
        if late:
            drops = f"--fine_tune_lr_drops={','.join(late)}"
            raise UserError(f"{drops} must be less than the {longest} iterations of fine-tuning")

    def trainings(self, settings: Settings) -> int:
        """The search, fine-tuning, and that of each sanity check."""
        options = settings.options
        return options.how.is_search + math.ceil(options.fine_tune_length * (1 + len(options.sanity_checks)))

    def ignored(self, settings: Settings, lr_schedule: str) -> dict[str, str]:
        """Weights are not scored, and each algorithm has options of its own."""
        reason, options = f"with --experiment={self.name}", settings.options
        reasons: dict[str, str] = dict.fromkeys(_UNSCORED, f"{reason}, which scores no weights")
        reasons |= dict.fromkeys(("shuffle", "reinitialize", "invert"), f"{reason}; see --sanity_checks")
        reasons["pruner"] = f"{reason}, whose masks are found by --algorithm"
        if settings.pruning.pruning_type == "effective":
            del reasons["effective_type"]
        return reasons | _ignored_by_options(options) | _ignored_by_algorithm(options)


def _ignored_by_algorithm(options: SupermaskOptions) -> dict[str, str]:
    """The reason for each flag that has no effect with the algorithm of these options."""
    how, reason = options.how, f"with --algorithm={options.algorithm}"
    rules = (
        (how.is_search, ("score_init", "score_penalty", "masks_from", *_FINE_TUNING)),
        (not how.is_search, ("smart_ratio_ends",)),
        (how.is_clamped, ("clamp_forward", "quantize", "threshold", "rounding")),
        (how.has_steps, ("freeze_every", "stop_freezing")),
        (how.freezes, ("freeze_rule", "unflag", "pruning_type")),
    )
    reasons = {name: reason for applies, names in rules for name in names if not applies}
    if not options.has_target:
        untargeted = f"{reason}{' --freeze_rule=threshold' * how.freezes}, which has no target"
        names = ("pruning_type", "target_sparsity", "target_density", "com_exp", "scale_fan")
        reasons |= dict.fromkeys(names, untargeted)
    return reasons


def _ignored_by_options(options: SupermaskOptions) -> dict[str, str]:
    """The reason for each flag that has no effect with another option."""
    reasons = {}
    penalty = options.penalty if options.how.is_search else "none"
    if penalty == "none":
        reasons["penalty_strength"] = "without a --score_penalty"
    if penalty != "variance":
        reasons["penalty_exponents"] = "without --score_penalty=variance"
    if options.new_weights is None:
        reasons["scale_fan"] = f"with --weight_init={UNCHANGED}"
    if options.unflag:
        reasons["rounding"] = "with --unflag, which keeps entries whatever their scores"
    if options.how.is_search and not (options.fine_tune_length and options.fine_tune_weight_decay):
        reasons["weight_decay_scope"] = "without a --fine_tune_weight_decay, because all scores decay alike"
    if options.fine_tune_lr_schedule != "step":
        reasons["fine_tune_lr_drops"] = f"with --fine_tune_lr_schedule={options.fine_tune_lr_schedule}"
    if not options.fine_tune_length:
        reasons |= dict.fromkeys(_FINE_TUNING[1:], "without fine-tuning (--fine_tune_length)")
    return reasons


_BY_ALGORITHM = ("weight_init", "score_init", "score_penalty")
"""Options whose defaults depend on the algorithm."""

_FINE_TUNING = tuple(item.name for item in fields(SupermaskOptions) if item.name.startswith("fine_tune_"))
"""Options of fine-tuning, its length first; a network without a search is trained by the recipe itself."""


def search_epochs(settings: Settings) -> int:
    """Epochs of the search of a resolved run, the last of which may be shorter."""
    from Utils.data.dataset import facts

    training = settings.training
    images = facts(settings.run.data or "", settings.run.path_to_data).train_size - training.validation
    return -(-(training.iterations or 0) // max(1, images // (training.batch_size or 1)))
