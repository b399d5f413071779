"""Single-shot pruning: the accuracy of a network that is pruned once, before it is trained.

    python main.py --pruner=snip --target_sparsity=0.99 --pruning_type=effective --data=mnist

Score -> allocate -> measure -> train. Criteria of trained weights score the weights of a dense run with the same sample
and settings; the pruned network still starts from the initial weights. Sanity checks permute the masks (`--shuffle`),
reverse the order of scores (`--invert`) or train from other initial weights (`--reinitialize`). `--branch_at` trains a
second copy from a step with other batches (Frankle et al. 2020): `path.csv` has loss and accuracy on the line between
the two, and the summary the barriers.

Takes about 5 minutes for LeNet-300-100 on MNIST (96,000 iterations) on one core of an Intel Xeon; 3 s on digits. One
sample of each network; `--sample 0 1 2` runs three.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from Experiments.base import Experiment
from Experiments.branches import BranchOptions, branch_step, check_branch
from Experiments.common.pruner_names import renamed
from Pruners.registry import parts
from Utils.config.choices import DENSE
from Utils.config.groups import Pruning
from Utils.config.settings import Settings

if TYPE_CHECKING:
    from Utils.results.artifacts import Need


@dataclass(frozen=True)
class SingleshotOptions(BranchOptions):
    """Single-shot pruning (`--experiment=singleshot`)."""


class Singleshot(Experiment):
    """Prune once before training, then train."""

    name = "singleshot"
    about = "prune once before training, then train"
    implementation = "Experiments.runs.singleshot:run"
    Options = SingleshotOptions

    def resolve(self, settings: Settings, given: Collection[str] = ()) -> Settings:
        """`magnitude` of initial weights is `mag`, and `mag` of trained weights is `magnitude`."""
        pruning = settings.pruning
        if pruning.pre_iterations is None:
            return settings
        name = renamed(pruning.pruner, {"magnitude": "mag"} if pruning.pre_iterations == 0 else {"mag": "magnitude"})
        is_needed = any(criterion.scores_trained for criterion in parts(name))
        return settings.with_values(pruner=name, pre_iterations=pruning.pre_iterations if is_needed else None)

    def check(self, settings: Settings) -> None:
        """A branch has steps to train."""
        check_branch(settings)

    def ignored(self, settings: Settings, lr_schedule: str) -> dict[str, str]:
        """`--pre_iterations` needs a criterion of trained weights that are not given, `--branch_at` a training."""
        pruning = settings.pruning
        reasons = {} if settings.training.train else {"branch_at": "with --train=0"}
        if not any(criterion.needs_trained for criterion in parts(pruning.pruner)):
            reasons["pre_iterations"] = f"on pruner {pruning.pruner}, which scores no trained weights"
        elif pruning.weights_from is not None:
            reasons["pre_iterations"] = "with --weights_from, whose weights are scored"
        return reasons

    def needs(self, settings: Settings) -> tuple[Need, ...]:
        """The trained weights of a dense run, if the pruner scores trained weights."""
        from Utils.results.artifacts import Need

        pruning = settings.pruning
        # The weights of a checkpoint count as trained.
        scores_trained = any(criterion.scores_trained for criterion in parts(pruning.pruner))
        if pruning.weights_from is not None or pruning.pre_iterations == 0 or not scores_trained:
            return ()
        parent = settings.with_values(**_dense_parent(pruning), train=True, branch_at=None)
        if pruning.pre_iterations is not None:
            parent = parent.with_values(iterations=pruning.pre_iterations)
        return (Need("dense", parent),)

    def trainings(self, settings: Settings) -> int:
        """One, and the branch."""
        return 1 if branch_step(settings) is None else 2


def _dense_parent(pruning: Pruning) -> dict[str, Any]:
    """Pruning settings of the dense run whose trained weights are scored."""
    values = vars(replace(Pruning(), pruner=DENSE, target_sparsity=Decimal(0)))
    if pruning.masks_from is None:
        return values
    # Masks of biases and other optional parameters fit only a network in which these are prunable.
    names = ("masks_from", "masks_key", "prune_bias", "prune_batchnorm", "prune_residual")
    return values | {name: getattr(pruning, name) for name in names}
