"""Sparse training with exchange of weights: the accuracy of a sparse network whose masks change while it trains.

    python main.py --experiment=dynamic --pruner=random/erk --target_sparsity=0.95 --grow=gradient --data=mnist

The network is pruned before training. Then, every `--exchange_every` iterations until `--end_step`, each layer prunes
its smallest weights and regrows the same number: those with the largest gradient (`--grow=gradient`: RigL, Evci et al.
2020) or random ones (`--grow=random`: SET, Mocanu et al. 2018). The number of weights in each layer is constant.

Takes as long as a single shot, plus a little for each exchange.
"""

import warnings
from dataclasses import dataclass

from Experiments.while_training import WhileTraining
from Utils.config.choices import DENSE
from Utils.config.fields import AT_LEAST_ONE, RUN_FRACTION, Check, setting
from Utils.config.settings import Settings
from Utils.errors import UserError

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


_USUAL = (DynamicOptions().exchange_every, DynamicOptions().end_step)


class Dynamic(WhileTraining):
    """Exchange weights of a sparse network while it trains."""

    name = "dynamic"
    about = "exchange weights of a sparse network while it trains (SET, RigL)"
    implementation = "Experiments.runs.dynamic:run"
    Options = DynamicOptions
    revision = 1

    def check(self, settings: Settings) -> None:
        """An exchange must be due before the last one may be."""
        super().check(settings)
        options, iterations = settings.options, settings.training.iterations or 0
        end = round(options.end_step * iterations)
        if settings.pruning.pruner != DENSE and options.exchange_every >= end:
            fault = f"--exchange_every={options.exchange_every} leaves no exchange before step {end}"
            message = f"{fault}, which is --end_step={options.end_step} of {iterations} iterations"
            if (options.exchange_every, options.end_step) != _USUAL:
                raise UserError(message)
            warnings.warn(message, stacklevel=2)

    def ignored(self, settings: Settings, lr_schedule: str) -> dict[str, str]:
        """Single weights are exchanged; the first masks come from initial weights, so others may replace these."""
        reasons = super().ignored(settings, lr_schedule)
        del reasons["reinitialize"]
        names = ("keep_alive", "prune_unit")
        return reasons | dict.fromkeys(names, f"with --experiment={self.name}, which exchanges single weights")
