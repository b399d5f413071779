"""Recorder: the only part of a campaign that reads and writes results; it locks each run while it is executed."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import pandas as pd

from Utils.campaign.locks import RunLocks
from Utils.campaign.plan import Plan, PlannedRun
from Utils.errors import UserError
from Utils.results.artifacts import Artifact, Need, artifact_of
from Utils.results.outcome import Outcome
from Utils.results.store import Store, StoredState, summary_row
from Utils.training.context import CheckpointSaved


class MissingInputError(UserError):
    """What a run needs of another run was stored, and is deleted or damaged."""

    def __init__(self, message: str, key: str) -> None:
        super().__init__(message)
        self.key = key
        """The key of the other run."""


@dataclass
class Recorder:
    """Reads and writes the results of the runs of a plan."""

    plan: Plan
    store: Store
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    """Outcomes of runs that others need, kept in memory where results are not stored."""
    started: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.locks = RunLocks(self.store.path)

    def acquire(self, run: PlannedRun) -> bool:
        """Lock a run; False if another process holds it."""
        return not self.plan.saves or self.locks.acquire(run.key)

    def release(self, run: PlannedRun) -> None:
        """Release the lock of a run, if it is held."""
        if run.key in self.locks.held:
            self.locks.release(run.key)

    def close(self) -> None:
        """Release all locks."""
        self.locks.release_all()

    def finished_elsewhere(self, run: PlannedRun, first_look: StoredState) -> StoredState | None:
        """The state of a locked run that another command has finished since it was first read; None otherwise."""
        state = self.store.state(run.settings) if self.plan.saves else first_look
        has_changed = state.fingerprint != first_look.fingerprint
        return state if has_changed and state.status != "missing" else None

    def inputs(self, run: PlannedRun, failed: Mapping[str, str]) -> dict[str, Artifact]:
        """What a run reads of other runs.

        Raises `UserError` if one of these failed or cannot be opened, and `MissingInputError` if one must be executed
        again.
        """
        return {need.name: self._artifact(need, failed) for need in run.needs}

    def _artifact(self, need: Need, failed: Mapping[str, str]) -> Artifact:
        key, title = need.settings.key(), need.settings.title()
        if key in failed:
            raise UserError(f"it needs {title}, which failed: {failed[key]}")
        if key in self.outcomes:
            return artifact_of(self.outcomes[key], need)
        artifact = self.store.read_artifact(need)
        if artifact is None:
            what = "trained weights" if need.kind == "weights" else need.kind
            raise MissingInputError(f"{title}: its {what} were deleted or damaged meanwhile", key)
        return artifact

    def checkpoints(self, run: PlannedRun) -> tuple[dict[str, bytes], int | None]:
        """The checkpoints to resume a run from, and the steps between new ones (0: none are written)."""
        flags, every = run.settings.run, run.settings.machine.checkpoint_every
        if not self.plan.saves or every == 0:
            return {}, 0
        if flags.overwrite and run.key not in self.started:
            self.store.delete_checkpoints(run.settings)
        self.started.add(run.key)
        return self.store.read_checkpoints(run.settings), every

    def save_checkpoint(self, run: PlannedRun, checkpoint: CheckpointSaved) -> None:
        """Store a checkpoint; raises `UserError` if it cannot be written."""
        self.store.write_checkpoint(run.settings, checkpoint.name, checkpoint.content)

    def record(
        self, run: PlannedRun, outcome: Outcome, seconds: float = 0.0, keeps_checkpoints: bool = False
    ) -> pd.DataFrame:
        """Store the outcome of a run; returns its row of `summary.csv`."""
        if self.plan.saves:
            row = self.store.write(run.settings, run.defaults, outcome, seconds, keeps_checkpoints)
        else:
            row = summary_row(run.settings, run.defaults, outcome)
            if run.key in self.plan.needed:
                self.outcomes[run.key] = outcome
        self.release(run)
        return row
