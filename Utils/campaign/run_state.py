"""Run states: which runs of a plan are finished, and which must be executed.

The state of a run is read once, so that everything a command prints and does rests on the same observation.
"""

from dataclasses import dataclass, field
from functools import cached_property

from Utils.campaign.plan import Plan, PlannedRun
from Utils.results.artifacts import Need
from Utils.results.store import Store, StoredState


@dataclass
class RunStates:
    """The states of the runs of a plan in a results folder, as one command sees them."""

    plan: Plan
    store: Store
    first_look: dict[str, StoredState] = field(default_factory=dict)
    """State of each run when it was first read, by run key."""

    def state(self, run: PlannedRun) -> StoredState:
        """The stored state of a run when it was first read."""
        if run.key not in self.first_look:
            self.first_look[run.key] = self.store.state(run.settings)
        return self.first_look[run.key]

    def look_again(self, run: PlannedRun) -> None:
        """Read the state of a run anew, before the run is executed again."""
        self.first_look[run.key] = self.store.state(run.settings)

    def is_finished(self, run: PlannedRun) -> bool:
        """Whether a run need not be executed: it is complete, or failed and is not to be retried."""
        flags = run.settings.run
        if not flags.save or flags.overwrite:
            return False
        status = self.state(run).status
        return status == "complete" or (status == "failed" and not flags.retry_failed)

    @cached_property
    def to_do(self) -> list[PlannedRun]:
        """The unfinished runs, each once, after the runs that they need and that are not stored."""
        wanted = {run.key: run for run in self.plan.runs if not self.is_finished(run)}
        missing: dict[str, PlannedRun] = {}

        def visit(run: PlannedRun) -> None:
            for need in run.needs:
                other = self.plan.by_key[need.settings.key()]
                if other.key not in missing and (other.key in wanted or not self._is_settled(other, need)):
                    visit(other)
                    missing[other.key] = other

        for run in wanted.values():
            visit(run)
        return list((missing | wanted).values())

    @cached_property
    def finished_before(self) -> list[PlannedRun]:
        """The requested runs that need not be executed."""
        left = {run.key for run in self.to_do}
        return [run for run in self.plan.runs if run.key not in left]

    @cached_property
    def inputs_before(self) -> list[PlannedRun]:
        """The runs that unfinished runs need and that need not be executed themselves."""
        left = {run.key for run in self.to_do}
        keys = dict.fromkeys(need.settings.key() for run in self.to_do for need in run.needs)
        return [self.plan.by_key[key] for key in keys if key not in left]

    def failures_before(self) -> dict[str, str]:
        """The reasons of finished runs that failed, by run key."""
        states = {run.key: self.state(run) for run in (*self.finished_before, *self.inputs_before)}
        return {key: state.error for key, state in states.items() if state.status == "failed"}

    def _is_settled(self, run: PlannedRun, need: Need) -> bool:
        """Whether what a need asks for is stored, or is known to be unobtainable."""
        if not run.settings.run.save:
            return False
        status = self.state(run).status
        if status == "failed":
            return not run.settings.run.retry_failed
        return status == "complete" and self.store.has_artifact(need)
