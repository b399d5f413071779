"""Studies of scores: what experiments share that score a network and train nothing. Loads no PyTorch."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from decimal import Decimal
from typing import Any

from Experiments.base import Experiment
from Experiments.common.pruner_names import of_current_weights
from Pruners.registry import CRITERIA, parts
from Utils.config.choices import DENSE
from Utils.config.settings import Settings
from Utils.errors import UserError

_TRAINING = (
    "train", "iterations", "epochs", "optimizer", "lr", "lr_drops", "lr_drop_rate", "lr_schedule", "lr_cycle", "warmup",
    "momentum", "weight_decay", "weight_decay_scope", "accumulate", "augmentation", "evaluate_every", "precision",
    "compile", "checkpoint_every", "tensorboard", "reinitialize", "pre_iterations", "batchnorm",
)  # fmt: skip

_PRUNING = (
    "pruning_type", "effective_type", "target_sparsity", "target_density", "com_exp", "prune_iterations", "schedule",
    "prune_unit", "compute_aware", "keep_alive", "invert", "shuffle", "draws", "active_rows", "tile",
)  # fmt: skip

_EXAMPLES = ("mean", "std", "validation", "batch_size")

_KINDS = ("prune_bias", "prune_batchnorm", "prune_residual", "dense_classifier")


class OfScores(Experiment):
    """A study of the scores of one network: of its own weights, which are initial ones unless `--weights_from`."""

    is_study = True
    has_targets = False

    def resolve(self, settings: Settings, given: Collection[str] = ()) -> Settings:
        """`magnitude` and `mag` score the same weights."""
        return settings.with_values(pruner=of_current_weights(settings.pruning.pruner))

    def fixed(self, settings: Settings) -> Mapping[str, Any]:
        """Nothing is trained."""
        return {"train": False}

    def check(self, settings: Settings) -> None:
        """Only a pruner has scores."""
        if settings.pruning.pruner == DENSE:
            raise UserError(f"--experiment={self.name} needs scores, but --pruner={DENSE} gives none; name a pruner")

    def ignored(self, settings: Settings, lr_schedule: str) -> dict[str, str]:
        """Flags of training have no effect; those of images and weights have none on criteria that read neither."""
        pruner = settings.pruning.pruner
        criteria = parts(pruner)
        reasons: dict[str, str] = dict.fromkeys(_TRAINING, f"with --experiment={self.name}, which trains nothing")
        if not any(criterion.needs_batches for criterion in criteria):
            reasons |= dict.fromkeys(_EXAMPLES, f"on pruner {pruner}, which scores no examples")
        if all(criterion is CRITERIA["random"] for criterion in criteria):
            reasons |= dict.fromkeys(("weights_from", "pretrained"), f"on pruner {pruner}, which scores no weights")
        return reasons

    def trainings(self, settings: Settings) -> int:
        """None."""
        return 0


class OfRawScores(OfScores):
    """A study of the scores that a criterion gives the unpruned network, in one round: no target, quota or schedule."""

    def fixed(self, settings: Settings) -> Mapping[str, Any]:
        """Nothing is pruned, and scores have no number of rounds."""
        nothing = {"target_sparsity": Decimal(0), "com_exp": None, "pruning_type": "direct"}
        return {**super().fixed(settings), **nothing, "prune_iterations": None}

    def check(self, settings: Settings) -> None:
        """A quota re-scores, so that it has no raw scores."""
        super().check(settings)
        criterion, slash, quota = settings.pruning.pruner.partition("/")
        if slash:
            advice = f"leave out the quota {quota}: write --pruner={criterion}"
            raise UserError(f"--experiment={self.name} compares the scores that a criterion gives, by itself; {advice}")

    def ignored(self, settings: Settings, lr_schedule: str) -> dict[str, str]:
        """Flags of pruning have no effect, and all layers and biases are scored."""
        reason = f"with --experiment={self.name}"
        return {
            **super().ignored(settings, lr_schedule),
            **dict.fromkeys(_PRUNING, f"{reason}, which prunes nothing"),
            **dict.fromkeys(_KINDS, f"{reason}, which scores all layers and biases"),
        }
