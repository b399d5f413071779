"""Pruning after training: the accuracy of a trained network without some of its weights or units, not retrained.

    python main.py --experiment=train-then-prune --architecture=mlp --data=mnist

The question of the network-pruning program. A dense network is trained, and its weights at the lowest validation loss
are kept. Then two networks are tested for each k of `--k_vals`, both pruned from these weights: one without the
fraction k of smallest weights in every hidden layer, one without the fraction k of units with the smallest norms. The
output layer is not pruned. `results.csv` has the columns of the program.

Takes as long as one dense training: 20 epochs of the MLP on MNIST in about 3 minutes on one core of an Intel Xeon.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from Experiments.base import Experiment
from Utils.config.choices import DENSE
from Utils.config.fields import NOT_NEGATIVE, Check, setting
from Utils.config.settings import Settings
from Utils.errors import UserError

_FRACTIONS: Check = (lambda values: values and all(0 <= k < 1 for k in values), "fractions, from 0 to less than 1")

_HELD_OUT = 10_000
"""Number of validation images in the network-pruning program."""


@dataclass(frozen=True)
class TrainThenPruneOptions:
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


class TrainThenPrune(Experiment):
    """Train once, then prune weights and units without training on."""

    name = "train-then-prune"
    about = "train once, then prune weights and units without training on"
    implementation = "Experiments.runs.train_then_prune:run"
    Options = TrainThenPruneOptions
    revision = 1
    figures = ("weights-and-units", "trained", "pruned-weights", "pruned-units")
    printed_table = "results"
    has_targets = False

    def resolve(self, settings: Settings, given: Collection[str] = ()) -> Settings:
        """Validation images to choose the best weights by, and fractions in one spelling."""
        from Utils.data.dataset import facts

        options, held_out = settings.options, settings.training.validation
        if "validation" in given and options.keep_best and not held_out:
            raise UserError("--validation=0 leaves no images to choose the best weights by; add --keep_best=0")
        images = facts(settings.run.data or "", settings.run.path_to_data).train_size
        default = min(_HELD_OUT, images // 6) if options.keep_best else 0
        fractions = tuple(dict.fromkeys(Decimal(format(k.normalize(), "f")) for k in options.k_vals))
        return settings.with_values(validation=held_out or default, k_vals=fractions)

    def fixed(self, settings: Settings) -> Mapping[str, Any]:
        """A dense network is trained."""
        return {"pruner": DENSE}

    def ignored(self, settings: Settings, lr_schedule: str) -> dict[str, str]:
        """The pruner and its target are fixed by `--k_vals`."""
        reason = f"with --experiment={self.name}"
        untrained = (
            {} if settings.training.train else dict.fromkeys(("keep_best", "l1_reg", "l2_reg"), "with --train=0")
        )
        names = ("pruner", "pruning_type", "target_sparsity", "target_density", "com_exp", "masks_from")
        return {
            "shuffle": f"{reason}, which prunes its masks further",
            "reinitialize": f"{reason}, which prunes after training",
            "pre_iterations": f"on pruner {DENSE}",
            **dict.fromkeys(names, f"{reason}, which prunes weights and units by --k_vals"),
            **untrained,
        }
