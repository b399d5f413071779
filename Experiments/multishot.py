"""Multi-shot pruning: the accuracy of a network that is trained, pruned and rewound, level by level.

    python main.py --experiment=multishot --pruner=magnitude --levels=10 --target_sparsity=0.9 --data=mnist

Each level prunes the network by its trained weights, rewinds it and trains it; pruned weights stay pruned. Each level
prunes the same fraction of the remaining weights, and the last level reaches the target. `--rewind=init` is iterative
magnitude pruning, which finds lottery tickets (Frankle & Carbin 2019); a number of iterations is early rewinding
(Frankle et al. 2020); `lr` and `none` are learning-rate rewinding and fine-tuning (Renda et al. 2020).
`--reinitialize` also trains the masks of each level from other initial weights, the control of lottery tickets.
`--branch_at` trains a second copy of the last network from a step with other batches, and tests the line between both.

Takes levels + 1 times as long as a single shot; `--pre_iterations` shortens all trainings but the last.
"""

from collections.abc import Collection
from dataclasses import dataclass

from Experiments.base import Experiment
from Experiments.branches import BranchOptions, branch_step, check_branch
from Experiments.common.pruner_names import of_current_weights
from Utils.config.choices import DENSE
from Utils.config.fields import ROUNDS, Check, setting
from Utils.config.settings import Settings
from Utils.errors import UserError

REWINDS = ("init", "none", "lr")

_REWIND: Check = (
    lambda value: value in REWINDS or (value.isascii() and value.isdecimal() and len(value) < 19),
    f"{', '.join(REWINDS)} or a number of iterations",
)


@dataclass(frozen=True)
class MultishotOptions(BranchOptions):
    """Levels of training and pruning (`--experiment=multishot`)."""

    levels: int = setting(3, "how often the network is pruned and trained again", kind=int, check=ROUNDS)
    rewind: str = setting(
        "init", "the state to rewind to after pruning: initial weights (init), weights after N iterations, or only the "
        "learning-rate schedule (lr); none: train on at the last learning rate", check=_REWIND,
        placeholder="init|none|lr|N",
    )  # fmt: skip


class Multishot(Experiment):
    """Train, prune and rewind, level by level."""

    name = "multishot"
    about = "train, prune and rewind, level by level"
    implementation = "Experiments.runs.multishot:run"
    Options = MultishotOptions

    def resolve(self, settings: Settings, given: Collection[str] = ()) -> Settings:
        """Rewinding to iteration 0 is `init`."""
        values = {"pruner": of_current_weights(settings.pruning.pruner)}
        rewind = settings.options.rewind
        if rewind.isdecimal():
            values["rewind"] = str(int(rewind)) if int(rewind) else "init"
        return settings.with_values(**values)

    def check(self, settings: Settings) -> None:
        """The first training must reach the iteration to rewind to, and the last one branch after it."""
        check_branch(settings)
        rewind, before = settings.options.rewind, settings.pruning.pre_iterations
        first = (settings.training.iterations or 0) if before is None else before
        if rewind.isdecimal() and int(rewind) > first:
            raise UserError(f"--rewind={rewind} is more than the {first} iterations of the first training")
        step = branch_step(settings)
        if step is not None and rewind.isdecimal() and step < int(rewind) and not settings.pruning.reinitialize:
            raise UserError(f"--branch_at={step} is before --rewind={rewind}, where the last training starts")

    def ignored(self, settings: Settings, lr_schedule: str) -> dict[str, str]:
        """A dense network has no levels, and masks of levels are pruned on."""
        reasons = {"shuffle": f"with --experiment={self.name}, which prunes its masks further"}
        if not settings.training.train:
            reasons |= dict.fromkeys(("pre_iterations", "rewind", "branch_at"), "with --train=0")
        if settings.pruning.pruner == DENSE:
            names = ("experiment", "pre_iterations", "reinitialize", "levels", "rewind")
            reasons |= dict.fromkeys(names, f"on pruner {DENSE}, which prunes nothing")
        return reasons

    def trainings(self, settings: Settings) -> int:
        """One for the unpruned network and one for each level, and as many again with `--reinitialize`; a branch."""
        levels = settings.options.levels * (2 if settings.pruning.reinitialize else 1)
        return 1 + levels + (branch_step(settings) is not None)
