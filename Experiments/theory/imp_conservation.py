"""Conservation in magnitude pruning: the mean squared weight of each layer against the inverse of its size.

    python main.py --experiment=imp-conservation --architecture=lottery/vgg19 --weight_init unchanged xavier-normal

Tanaka et al. 2020 (figure 5b; `lottery-layer-conservation` in their README): training moves the squared magnitudes of
weights towards equal totals of all layers, which is why iterative magnitude pruning does not collapse a layer. A dense
network is trained; each test, once per epoch by default, adds a row for each layer to `layer_weights.csv`, and the
slope of the logarithms to `slopes.csv`.

Takes as long as one dense training: hours for VGG-19 on CIFAR-10 on a GPU, seconds for LeNet-300-100 on digits.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from Experiments.base import Experiment
from Utils.config.choices import DENSE, UNCHANGED, WEIGHT_INITS
from Utils.config.fields import setting
from Utils.config.settings import Settings
from Utils.errors import UserError


@dataclass(frozen=True)
class ImpConservationOptions:
    """Squared weights by layer during training (`--experiment=imp-conservation`)."""

    weight_init: str = setting(
        UNCHANGED, "initial kernels: those of the network, or drawn from another distribution",
        choices=(*WEIGHT_INITS, UNCHANGED),
    )  # fmt: skip


class ImpConservation(Experiment):
    """Whether training equalises the total squared weights of layers."""

    name = "imp-conservation"
    about = "the mean squared weight of each layer while a dense network is trained against the inverse of its size"
    implementation = "Experiments.theory.runs.imp_conservation:run"
    Options = ImpConservationOptions
    is_study = True
    figures = ("imp-conservation",)
    has_targets = False
    tests_each_epoch = True

    def fixed(self, settings: Settings) -> Mapping[str, Any]:
        """A dense network is trained."""
        return {"pruner": DENSE}

    def check(self, settings: Settings) -> None:
        """Weights are followed while they train."""
        if not settings.training.train:
            raise UserError(f"--experiment={self.name} follows weights while they train, so it excludes --train=0")

    def ignored(self, settings: Settings, lr_schedule: str) -> dict[str, str]:
        """Nothing is pruned; other initial kernels replace those of a file."""
        nothing = f"with --experiment={self.name}, which prunes nothing"
        names = (
            "pruner", "pruning_type", "target_sparsity", "target_density", "com_exp", "shuffle", "pre_iterations",
            "prune_bias", "prune_batchnorm", "prune_residual", "dense_classifier",
        )  # fmt: skip
        reasons: dict[str, str] = dict.fromkeys(names, nothing)
        reasons["reinitialize"] = f"with --experiment={self.name}; see --weight_init"
        return reasons
