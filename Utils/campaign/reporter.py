"""Reporters: what the user sees of a campaign, on a terminal, in a file, in TensorBoard, or nothing."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import pandas as pd

from Utils.campaign.plan import PlannedRun
from Utils.campaign.progress import CampaignProgress
from Utils.campaign.tensorboard import TensorBoardWriter
from Utils.training.context import Evaluation, Progress


class Reporter(Protocol):
    """Receives what happens in a campaign."""

    @property
    def bars(self) -> int:
        """The number of progress bars that it shows above that of a training in this process."""
        ...

    def say(self, text: str) -> None:
        """A message before the first run or after the last."""

    def begin(self, total: int, done: int, shows_runs: bool) -> None:
        """The campaign starts; `shows_runs` asks for a bar for each run."""

    def start(self, run: PlannedRun) -> None:
        """A run starts."""

    def progress(self, run: PlannedRun, progress: Progress) -> None:
        """A run has trained for some steps."""

    def evaluation(self, run: PlannedRun, evaluation: Evaluation) -> None:
        """A run was tested."""

    def warn(self, text: str) -> None:
        """A warning."""

    def note(self, text: str) -> None:
        """A message while runs are executed."""

    def requeue(self, run: PlannedRun, text: str) -> None:
        """A run will be executed again."""

    def skip(self, run: PlannedRun, text: str) -> None:
        """A run was finished by another command."""

    def finish(self, run: PlannedRun, row: pd.DataFrame, layers: pd.DataFrame) -> None:
        """A run has finished or failed, with its row of `summary.csv` and its `layers.csv`."""

    def close(self) -> None:
        """No run is executed any more."""


class SilentReporter:
    """Shows nothing."""

    bars = 0

    def say(self, text: str) -> None:
        """Nothing."""

    def begin(self, total: int, done: int, shows_runs: bool) -> None:
        """Nothing."""

    def start(self, run: PlannedRun) -> None:
        """Nothing."""

    def progress(self, run: PlannedRun, progress: Progress) -> None:
        """Nothing."""

    def evaluation(self, run: PlannedRun, evaluation: Evaluation) -> None:
        """Nothing."""

    def warn(self, text: str) -> None:
        """Nothing."""

    def note(self, text: str) -> None:
        """Nothing."""

    def requeue(self, run: PlannedRun, text: str) -> None:
        """Nothing."""

    def skip(self, run: PlannedRun, text: str) -> None:
        """Nothing."""

    def finish(self, run: PlannedRun, row: pd.DataFrame, layers: pd.DataFrame) -> None:
        """Nothing."""

    def close(self) -> None:
        """Nothing."""


@dataclass
class TextReporter(SilentReporter):
    """Prints a message for each run; on a terminal, shows bars below the messages."""

    print_line: Callable[[str], object]
    describe: Callable[[PlannedRun, pd.DataFrame, pd.DataFrame], str]
    """The message for a finished run."""
    tracker: CampaignProgress | None = None

    @property
    def bars(self) -> int:  # type: ignore[override]
        """One, if there are several runs on a terminal."""
        return int(self.tracker is not None and self.tracker.total > 1 and self.tracker.is_terminal)

    def say(self, text: str) -> None:
        """Print it."""
        self.print_line(text)

    def begin(self, total: int, done: int, shows_runs: bool) -> None:
        """Show a bar for all runs."""
        self.tracker = CampaignProgress(self.print_line, total, done, shows_runs)

    def start(self, run: PlannedRun) -> None:
        """Show a bar for a run."""
        self._tracker.start(run.key, run.title)

    def progress(self, run: PlannedRun, progress: Progress) -> None:
        """Move the bar of a run."""
        self._tracker.update(run.key, progress)

    def warn(self, text: str) -> None:
        """Print to the error output, above the bars."""
        self._tracker.warn(text)

    def note(self, text: str) -> None:
        """Print above the bars."""
        self._tracker.print_above(text)

    def requeue(self, run: PlannedRun, text: str) -> None:
        """Remove the bar of a run."""
        self._tracker.finish(run.key, text, is_final=False)

    def skip(self, run: PlannedRun, text: str) -> None:
        """Count a run."""
        self._tracker.finish(run.key, text)

    def finish(self, run: PlannedRun, row: pd.DataFrame, layers: pd.DataFrame) -> None:
        """Count a run, and print its result with its number."""
        tracker = self._tracker
        number = f"[{tracker.done + 1}/{tracker.total}] " if tracker.total > 1 and not tracker.is_terminal else ""
        tracker.finish(run.key, number + self.describe(run, row, layers))

    def close(self) -> None:
        """Close all bars."""
        self._tracker.close()

    @property
    def _tracker(self) -> CampaignProgress:
        assert self.tracker is not None, "begin comes first"
        return self.tracker


@dataclass
class TensorBoardReporter(TextReporter):
    """Also writes every evaluation for TensorBoard, until it cannot."""

    writer: TensorBoardWriter | None = None

    def evaluation(self, run: PlannedRun, evaluation: Evaluation) -> None:
        """Write the numbers of an evaluation."""
        if self.writer is None:
            return
        try:
            self.writer.add(run.settings, evaluation)
        except OSError as error:
            self.writer = None
            self.warn(f"nothing more is written for TensorBoard: {error.strerror or error}")
