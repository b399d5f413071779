"""Reporter: receives what happens in a campaign. This one shows nothing; subclasses show what they override."""

from collections.abc import Mapping

import pandas as pd

from Utils.campaign.plan import PlannedRun
from Utils.training.context import Evaluation, Progress


class Reporter:
    """Shows nothing."""

    @property
    def bars(self) -> int:
        """The number of progress bars that it shows above that of a training in this process."""
        return 0

    def say(self, text: str) -> None:
        """A message before the first run or after the last."""

    def begin(self, total: int, done: int, shows_runs: bool) -> None:
        """The campaign starts: `done` of `total` runs are finished; `shows_runs` asks for a bar for each run."""

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

    def repeat(self, text: str) -> None:
        """A finished run will be executed once more."""

    def skip(self, run: PlannedRun, text: str) -> None:
        """A run was finished by another command."""

    def finish(self, run: PlannedRun, row: pd.DataFrame, tables: Mapping[str, pd.DataFrame]) -> None:
        """A run has finished or failed, with its row of `summary.csv` and its other tables, `layers` among them."""

    def close(self) -> None:
        """No run is executed any more."""
