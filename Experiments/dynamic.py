"""Sparse training with exchange of weights: the accuracy of a sparse network whose masks change while it trains.

    python main.py --experiment=dynamic --pruner=random/erk --target_sparsity=0.95 --grow=gradient --data=mnist

The network is pruned before training. Then, every `--exchange_every` iterations until `--end_step`, each layer prunes
its smallest weights and regrows the same number: those with the largest gradient (`--grow=gradient`: RigL, Evci et al.
2020) or random ones (`--grow=random`: SET, Mocanu et al. 2018). The number of weights in each layer is constant.

Takes as long as a single shot, plus a little for each exchange.
"""

from dataclasses import dataclass

from Experiments.while_training import WhileTraining
from Utils.config.fields import AT_LEAST_ONE, RUN_FRACTION, Check, setting
from Utils.config.settings import Settings

_SHARE: Check = (lambda value: 0 <= value <= 1, "a fraction of the weights, from 0 to 1")


@dataclass(frozen=True)
class DynamicOptions:
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
    end_step: float = setting(0.75, "when exchanges end, as a fraction of the run", kind=float, check=RUN_FRACTION)


class Dynamic(WhileTraining):
    """Exchange weights of a sparse network while it trains."""

    name = "dynamic"
    about = "exchange weights of a sparse network while it trains (SET, RigL)"
    implementation = "Experiments.runs.dynamic:run"
    Options = DynamicOptions

    def ignored(self, settings: Settings, lr_schedule: str) -> dict[str, str]:
        """Single weights are exchanged; the first masks come from initial weights, so others may replace these."""
        reasons = super().ignored(settings, lr_schedule)
        del reasons["reinitialize"]
        names = ("keep_alive", "prune_unit")
        return reasons | dict.fromkeys(names, f"with --experiment={self.name}, which exchanges single weights")
