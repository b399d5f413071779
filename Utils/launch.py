"""How are runs carried out, one after the other, each once?"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import pandas as pd
from torch import Tensor

from Utils.distributed import agree, share
from Utils.errors import UserError
from Utils.results import Outcome, Store, summary_row
from Utils.settings import Settings


class ExperimentModule(Protocol):
    """What an experiment's file offers."""

    def trained_run(self, settings: Settings) -> Settings | None:
        """The run whose trained weights this run needs, if any."""
        ...

    def run(self, settings: Settings, trained: Mapping[str, Tensor] | None = None) -> Outcome:
        """Carry out one run."""
        ...


@dataclass
class Launcher:
    """Carries out resolved runs and keeps what they give."""

    experiment: ExperimentModule
    store: Store
    usual: Callable[[Settings], Settings]
    """What a run would be without flags, to tell in its row what is unusual."""
    say: Callable[[str], None]
    """Tells the user something."""
    finished: Callable[[Settings, pd.DataFrame, pd.DataFrame], None]
    """Is told of every run with its row of `summary.csv` and its `layers.csv`."""
    trained: dict[str, Mapping[str, Tensor] | UserError] = field(default_factory=dict)
    """What came of the runs of this session that others need: trained weights, which may not be kept, or a failure."""

    def is_done(self, settings: Settings) -> bool:
        """Whether a run is complete and need not be made again."""
        run = settings.run
        return run.save and not run.overwrite and agree(lambda: self.store.status(settings)) == "complete"

    def launch(self, runs: Sequence[Settings]) -> int:
        """Carry out what is not complete; returns the number of failed runs.

        A run of several that cannot be carried out becomes a row with its reason; a single one raises what it raised.
        """
        needed = {run.key() for run in map(self.experiment.trained_run, runs) if run is not None}
        failed = 0
        for settings in runs:
            if self.is_done(settings):
                place = self.store.folder(settings)
                self.say(f"{settings.title()}: complete already, in {place} (--overwrite runs it again)")
                continue
            try:
                outcome = self._carry_out(settings, settings.key() in needed)
            except Exception as error:
                # Of several processes that train one network, the others may not have met the error.
                if len(runs) == 1 or share().of > 1:
                    raise
                reason = str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
                outcome = Outcome.failed(reason)
                self._keep(settings, outcome, 0.0)
            failed += bool(outcome.error)
        return failed

    def describe(self, runs: Sequence[Settings]) -> None:
        """Say what `launch` would do, and do nothing."""
        done = [settings for settings in runs if self.is_done(settings)]
        keys, first = {settings.key() for settings in runs}, 0
        for settings in runs:
            if settings in done:
                self.say(f"complete  {settings.title()}  {self.store.folder(settings)}")
                continue
            needed = self.experiment.trained_run(settings)
            if needed is not None and needed.key() not in keys and self.store.status(needed) != "complete":
                keys.add(needed.key())
                first += 1
                self.say(f"train     {needed.title()}  {self.store.folder(needed)}  (scored by the next)")
            self.say(f"run       {settings.title()}  {self.store.folder(settings)}")
        to_do = len(runs) - len(done) + first
        self.say(f"{len(done)} complete, {to_do} to do; nothing was run (--dry_run)")

    def _carry_out(self, settings: Settings, is_needed: bool) -> Outcome:
        started = time.perf_counter()
        outcome = self.experiment.run(settings, self._trained(settings))
        if is_needed:
            reason = f"it needs {settings.title()}, which failed: {outcome.error}"
            self.trained[settings.key()] = UserError(reason) if outcome.error else outcome.weights
        self._keep(settings, outcome, time.perf_counter() - started)
        return outcome

    def _trained(self, settings: Settings) -> Mapping[str, Tensor] | None:
        needed = self.experiment.trained_run(settings)
        if needed is None:
            return None
        weights = self.trained.get(needed.key()) or agree(lambda: self.store.weights(needed))
        if weights is None:
            self.say(f"{settings.title()} scores trained weights: training {needed.title()} first")
            self._carry_out(needed, is_needed=True)
            weights = self.trained[needed.key()]
        if isinstance(weights, UserError):
            raise weights
        return weights

    def _keep(self, settings: Settings, outcome: Outcome, seconds: float) -> None:
        if settings.run.save:
            row = agree(lambda: self.store.write(settings, self.usual(settings), outcome, seconds))
        else:
            row = summary_row(settings, self.usual(settings), outcome)
        self.finished(settings, row, outcome.layers)
