"""Is a mask better that unites those of several cycles of pruning?

    python main.py --experiment=union-mask --arm union vanilla vanilla-cyclic --target_sparsity 0.9 0.98 --sample 0 1 2

The union-mask program's method: while the network trains with cyclic learning rates, each cycle prunes it from nothing
to the target; its mask joins the union, and all weights return. Before the last cycle the union becomes the mask, which
is then pruned on, linearly, to the target. `--arm=vanilla` prunes linearly once with the recipe's learning rates, as
the program compares; `vanilla-cyclic` does so with the method's learning rates and time, so that only the union
differs. All arms have the same number of iterations, initial weights and data order.

As long as a single shot, and a little more for each pruning.
"""

import math
import operator
from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from itertools import accumulate, pairwise
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from Experiments.common.masks_for_run import counted_sparsity
from Experiments.common.pruning_during_training import RepeatedPruning, prune_while_training
from Experiments.options import union_end
from Layers import Masks
from Pruners.schedules.sparsity_ramps import Ramp
from Utils.config.settings import Settings, Training
from Utils.config.target import Target
from Utils.results.outcome import Outcome


def trained_run(settings: Settings) -> None:
    """It prunes what it trains itself."""


def run(settings: Settings, trained: Mapping[str, Tensor] | None = None, show_progress: bool = True) -> Outcome:
    """Train and prune one network in one of the arms; `settings` are resolved."""
    return prune_while_training(settings, Cycles, show_progress, recipe(settings), {"arm": settings.options.arm})


def span(settings: Settings) -> tuple[int, int]:
    """First and last step of pruning."""
    own, iterations = settings.options, settings.training.iterations or 0
    return round(own.start_step * iterations), round(union_end(own) * iterations)


def recipe(settings: Settings) -> Training:
    """The recipe, but for the vanilla arm with learning rates that rise and fall with the cycles of pruning."""
    training, (start, end) = settings.training, span(settings)
    if settings.options.arm == "vanilla" or training.lr_schedule == "cyclic":
        return training
    iterations = training.iterations or 0
    # A whole number of periods, so that the run ends at a low rate; the original program's are two cycles of pruning.
    periods = max(1, round(iterations * settings.options.cycles / max(1, 2 * (end - start))))
    half = max(1, math.ceil(iterations / (2 * periods)))
    return replace(training, lr_schedule="cyclic", lr_cycle=(half, half))


class Cycles:
    """Prunes a network in cycles, or, in the arms that it is compared with, once."""

    def __init__(self, ongoing: RepeatedPruning) -> None:
        settings = ongoing.settings
        self.ongoing, self.own, self.target = ongoing, settings.options, settings.target
        self.start, self.end = span(settings)
        count = self.own.cycles if self.own.arm == "union" else 1
        self.bounds = [self.start + (self.end - self.start) * index // count for index in range(count + 1)]
        """The steps where cycles end and begin."""
        self.device = next(ongoing.model.parameters()).device
        self.final = 1 - settings.target.density
        self.found: list[Masks] = []
        self.unions: list[Masks] = []
        """Of the cycles so far, after each."""
        self.united: Masks | None = None
        self.initial = 0.0
        """What the last ramp begins with: the sparsity of the union."""

    def after_step(self, step: int, optimizer: torch.optim.Optimizer) -> None:
        """Prune, if it is time, and unite."""
        if self.ongoing.is_dense or not self.start <= step <= self.end:
            return
        if step == self.end:
            self.ongoing.prune(self.target, step, is_carried=self.united is not None, is_final=True)
        elif step in self.bounds[1:-1]:
            self._finish_cycle(step)
        elif (step - self.start) % self.own.prune_every == 0:
            sparsity = Decimal(repr(self._ramp(step).sparsity(step)))
            self.ongoing.prune(Target(sparsity), step, is_carried=self.united is not None)

    def _ramp(self, step: int) -> Ramp:
        start, end = next(pair for pair in pairwise(self.bounds) if step < pair[1])
        if end == self.end:
            return Ramp("linear", start, end, min(self.initial, self.final), self.final, 1)
        return Ramp("half-cycle", start, end, 0.0, self.final, end - start)

    def _finish_cycle(self, step: int) -> None:
        self.ongoing.prune(self.target, step, is_carried=False, is_final=True)
        masks = Masks.of(self.ongoing.model)
        self.found.append(masks)
        self.unions.append(masks | self.unions[-1] if self.unions else masks)
        if step != self.bounds[-2]:
            self.ongoing.replace_masks(self.ongoing.base, step)
            return
        self.united = self.unions[-1]
        self.ongoing.replace_masks(self.united, step)
        self.initial = counted_sparsity(self.ongoing.model, self.ongoing.settings)

    def state(self) -> dict[str, Any]:
        """The masks of the cycles so far, and what the last one begins with."""
        found = [dict(masks) for masks in self.found]
        return {"found": found, "is_united": self.united is not None, "initial": self.initial}

    def restore(self, state: dict[str, Any]) -> None:
        """Remember them."""
        self.found = [Masks(masks).to(self.device) for masks in state["found"]]
        self.unions = list(accumulate(self.found, operator.or_))
        self.united = self.unions[-1] if state["is_united"] else None
        self.initial = state["initial"]

    def tables(self) -> dict[str, pd.DataFrame]:
        """Each cycle's mask and the union so far; how far the masks of every two cycles are the same."""
        if not self.found:
            return {}
        cycles = []
        for number, (masks, united) in enumerate(zip(self.found, self.unions, strict=True), 1):
            row = {"cycle": number, "iteration": self.bounds[number], "kept_direct": masks.kept}
            cycles.append({**row, "union_kept": united.kept, "overlap_with_union": masks.overlap(united)})
        pairs = [
            {"cycle": first, "other": second, "overlap": masks.overlap(others)}
            for first, masks in enumerate(self.found, 1)
            for second, others in enumerate(self.found, 1)
        ]
        return {"cycles": pd.DataFrame(cycles), "overlaps": pd.DataFrame(pairs)}
