"""Which runs are over, and which must be made?

What there was of a run is looked up once, so that all that a command says and does rests on the same look.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from Utils.campaign.jobs import ExperimentModule
from Utils.config.settings import Settings
from Utils.distributed.process_group import agree
from Utils.results.store import Store, StoredState


@dataclass
class RunStates:
    """What one command knows of resolved runs of one experiment."""

    experiment: ExperimentModule
    store: Store
    retry_failed: bool = False
    first_look: dict[str, StoredState] = field(default_factory=dict)
    """What there was of each run at the first look."""
    dense_parents: dict[str, Settings | None] = field(default_factory=dict)
    """What each run needs, as far as it was asked for."""

    def state(self, settings: Settings) -> StoredState:
        """What there was of a run at the first look."""
        name = settings.key()
        if name not in self.first_look:
            self.first_look[name] = agree(lambda: self.store.state(settings))
        return self.first_look[name]

    def dense_parent(self, settings: Settings) -> Settings | None:
        """The run whose trained weights a run needs, if any."""
        name = settings.key()
        if name not in self.dense_parents:
            self.dense_parents[name] = self.experiment.trained_run(settings)
        return self.dense_parents[name]

    def dense_parents_of(self, runs: Iterable[Settings]) -> dict[str, Settings]:
        """The runs whose trained weights some of these need, by name."""
        return {run.key(): run for run in map(self.dense_parent, runs) if run is not None}

    def is_finished(self, settings: Settings) -> bool:
        """Whether a run was made and need not be made again."""
        run = settings.run
        if not run.save or run.overwrite:
            return False
        status = self.state(settings).status
        return status == "complete" or (status == "failed" and not self.retry_failed)

    def to_do(self, runs: Sequence[Settings]) -> list[Settings]:
        """The runs that are not over, after the trained ones that they need, each once."""
        wanted = {settings.key(): settings for settings in runs if not self.is_finished(settings)}
        needed = self.dense_parents_of(wanted.values())
        first = {name: run for name, run in needed.items() if name in wanted or not self._has_weights(run)}
        return list((first | wanted).values())

    def _has_weights(self, needed: Settings) -> bool:
        """Whether a run's trained weights are kept, or it is known that there will be none."""
        if not needed.run.save:
            return False
        status = self.state(needed).status
        if status == "failed":
            return not self.retry_failed
        return status == "complete" and agree(lambda: self.store.has_weights(needed))
