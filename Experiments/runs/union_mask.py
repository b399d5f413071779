"""Union mask: a schedule that prunes in cycles and unites their masks while a network trains."""

import operator
from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from itertools import accumulate, pairwise
from typing import Any

import pandas as pd

from Experiments.common.pruning_during_training import RepeatedPruning, prune_while_training
from Experiments.common.trial import Trial
from Layers import Masks
from Pruners.schedules.sparsity_ramps import Ramp
from Utils.config.resolved import Recipe
from Utils.config.settings import Settings
from Utils.config.target import Target
from Utils.results.artifacts import Artifact
from Utils.results.outcome import Outcome
from Utils.training.context import RunContext
from Utils.training.state import TrainingState


def run(settings: Settings, inputs: Mapping[str, Artifact], context: RunContext) -> Outcome:
    """Train and prune one network by the method or as a baseline."""
    schedule = Cycles(Trial(settings, context))
    return prune_while_training(schedule, cyclic_recipe(settings), {"arm": settings.options.arm})


def cyclic_recipe(settings: Settings) -> Recipe:
    """The training recipe; except in the vanilla arm, its learning rates rise in a cycle of pruning, fall in the next.

    The last rate is 0 if cycles of the same length fill the run, as `--cycles=19 --end_step=0.95` do.
    """
    recipe = settings.recipe
    start, end = settings.options.span(recipe.iterations)
    if settings.options.arm == "vanilla" or recipe.lr_schedule == "cyclic":
        return recipe
    cycle = max(1, round((end - start) / settings.options.cycles))
    return replace(recipe, lr_schedule="cyclic", lr_cycle=(cycle, cycle))


class Cycles(RepeatedPruning):
    """Schedule that prunes a network in cycles and unites their masks; in the baselines it prunes once."""

    def __init__(self, trial: Trial) -> None:
        super().__init__(trial)
        settings = trial.settings
        self.target = settings.target
        self.start, self.end = self.options.span(settings.recipe.iterations)
        count = self.options.cycles if self.options.arm == "union" else 1
        self.bounds = [self.start + (self.end - self.start) * index // count for index in range(count + 1)]
        """Steps between cycles, with the first and the last step of pruning."""
        self.final = 1 - settings.target.density
        self.found: list[Masks] = []
        """Masks of the finished cycles, in order."""
        self.unions: list[Masks] = []
        """Union of the masks so far, after each cycle."""
        self.united: Masks | None = None
        """The union that the last cycle prunes; None before that cycle."""
        self.initial = 0.0
        """Sparsity of the union, at which the last ramp starts."""

    def change_masks(self, training: TrainingState) -> None:
        """Prune if a pruning is due; unite masks at the end of a cycle."""
        step = training.step
        if not self.start <= step <= self.end:
            return
        if step == self.end:
            self.prune(self.target, step, is_carried=self.united is not None, is_final=True)
        elif step in self.bounds[1:-1]:
            self._finish_cycle(step)
        elif (step - self.start) % self.options.prune_every == 0:
            sparsity = Decimal(repr(self._ramp(step).sparsity(step)))
            self.prune(Target(sparsity), step, is_carried=self.united is not None)

    def _ramp(self, step: int) -> Ramp:
        """Sparsity ramp of the cycle that contains `step`."""
        start, end = next(pair for pair in pairwise(self.bounds) if step < pair[1])
        if end == self.end:
            return Ramp("linear", start, end, min(self.initial, self.final), self.final, 1)
        return Ramp("half-cycle", start, end, 0.0, self.final, end - start)

    def _finish_cycle(self, step: int) -> None:
        """Prune to the target, add the mask to the union, and start the next cycle."""
        self.prune(self.target, step, is_carried=False, is_final=True)
        masks = Masks.of(self.trial.model)
        self.found.append(masks)
        self.unions.append(masks | self.unions[-1] if self.unions else masks)
        if step != self.bounds[-2]:
            self.replace_masks(self.base, step)
            return
        self.united = self.unions[-1]
        self.replace_masks(self.united, step)
        self.initial = self.trial.pruner.sparsity(self.trial.model)

    def state(self) -> dict[str, Any]:
        """Also masks of the finished cycles, whether the last cycle has begun, and its initial sparsity."""
        cycle_masks = [dict(masks) for masks in self.found]
        cycles = {"found": cycle_masks, "is_united": self.united is not None, "initial": self.initial}
        return super().state() | cycles

    def load(self, state: Mapping[str, Any]) -> None:
        """Restore a result of `state`."""
        super().load(state)
        self.found = [Masks(masks).to(self.trial.device) for masks in state["found"]]
        self.unions = list(accumulate(self.found, operator.or_))
        self.united = self.unions[-1] if state["is_united"] else None
        self.initial = state["initial"]

    def tables(self) -> dict[str, pd.DataFrame]:
        """Also `cycles`, the size of each cycle's mask and of the union so far, and `overlaps` of pairs of masks."""
        if not self.found:
            return super().tables()
        cycles = []
        for number, (masks, united) in enumerate(zip(self.found, self.unions, strict=True), 1):
            row = {"cycle": number, "iteration": self.bounds[number], "kept_direct": masks.kept}
            cycles.append({**row, "union_kept": united.kept, "overlap_with_union": masks.overlap(united)})
        pairs = [
            {"cycle": first, "other": second, "overlap": masks.overlap(others)}
            for first, masks in enumerate(self.found, 1)
            for second, others in enumerate(self.found, 1)
        ]
        return super().tables() | {"cycles": pd.DataFrame(cycles), "overlaps": pd.DataFrame(pairs)}
