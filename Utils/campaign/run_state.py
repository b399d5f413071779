"""Run states: which runs are finished, and which must be executed.

The state of a run is read once, so that everything a command prints and does rests on the same observation.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from Utils.campaign.jobs import ExperimentModule
from Utils.config.settings import Settings
from Utils.distributed.process_group import agree
from Utils.results.store import Store, StoredState


@dataclass
class RunStates:
    """The states of resolved runs of one experiment, as one command sees them."""

    experiment: ExperimentModule
    store: Store
    retry_failed: bool = False
    first_look: dict[str, StoredState] = field(default_factory=dict)
    """State of each run when it was first read, by run key."""
    dense_parents: dict[str, Settings | None] = field(default_factory=dict)
    """Dense parents found so far, by run key."""

    def state(self, settings: Settings) -> StoredState:
        """The stored state of a run when it was first read."""
        name = settings.key()
        if name not in self.first_look:
            self.first_look[name] = agree(lambda: self.store.state(settings))
        return self.first_look[name]

    def dense_parent(self, settings: Settings) -> Settings | None:
        """The dense run whose trained weights a run needs, if any."""
        name = settings.key()
        if name not in self.dense_parents:
            self.dense_parents[name] = self.experiment.trained_run(settings)
        return self.dense_parents[name]

    def dense_parents_of(self, runs: Iterable[Settings]) -> dict[str, Settings]:
        """The dense parents of some runs, by run key."""
        return {run.key(): run for run in map(self.dense_parent, runs) if run is not None}

    def is_finished(self, settings: Settings) -> bool:
        """Whether a run need not be executed: it is complete, or failed and is not to be retried."""
        run = settings.run
        if not run.save or run.overwrite:
            return False
        status = self.state(settings).status
        return status == "complete" or (status == "failed" and not self.retry_failed)

    def to_do(self, runs: Sequence[Settings]) -> list[Settings]:
        """The unfinished runs, each once, after the dense parents that have no stored weights."""
        wanted = {settings.key(): settings for settings in runs if not self.is_finished(settings)}
        parents = self.dense_parents_of(wanted.values())
        first = {name: run for name, run in parents.items() if name in wanted or not self._is_settled(run)}
        return list((first | wanted).values())

    def _is_settled(self, parent: Settings) -> bool:
        """Whether the trained weights of a dense parent are stored, or are known to be unobtainable."""
        if not parent.run.save:
            return False
        status = self.state(parent).status
        if status == "failed":
            return not self.retry_failed
        return status == "complete" and agree(lambda: self.store.has_weights(parent))
