"""Text reporter: bars on a terminal, one line per finished run in a file or a pipe.

On a terminal one bar counts all runs, and each run in another process has a bar of its own.
"""

import sys
from collections.abc import Callable, Mapping

import pandas as pd
from tqdm import tqdm

from Utils.campaign.plan import PlannedRun
from Utils.campaign.reporter import Reporter
from Utils.training.context import Progress

_LINES = 8
"""The most bars of running networks that are shown below each other."""

Describe = Callable[[PlannedRun, pd.DataFrame, Mapping[str, pd.DataFrame]], str]
"""The message for a finished run, from its row of `summary.csv` and its other tables, `layers` among them."""


class TextReporter(Reporter):
    """Prints a message for each run; on a terminal, shows bars below the messages."""

    def __init__(self, print_line: Callable[[str], object], describe: Describe) -> None:
        self.print_line, self.describe = print_line, describe
        self.run_bars: dict[str, tqdm] = {}
        """Bars of runs, by run key."""

    @property
    def bars(self) -> int:
        """The bar of the campaign, if it is shown."""
        return int(self.is_terminal)

    def say(self, text: str) -> None:
        """Print it."""
        self.print_line(text)

    def begin(self, total: int, done: int, shows_runs: bool) -> None:
        """Show a bar for all runs, if there are several."""
        self.total, self.done, self.shows_runs = total, done, shows_runs
        self.bar = tqdm(
            total=total, initial=done, desc="campaign", unit="network", smoothing=0.1,
            dynamic_ncols=True, disable=None if total > 1 else True,
        )  # fmt: skip
        self.is_terminal = not self.bar.disable

    def start(self, run: PlannedRun) -> None:
        """Show a bar for a run."""
        if self.is_terminal and self.shows_runs and len(self.run_bars) < _LINES:
            free = min(set(range(1, _LINES + 1)) - {bar.pos and abs(bar.pos) for bar in self.run_bars.values()})
            self.run_bars[run.key] = tqdm(desc=run.title, unit="step", dynamic_ncols=True, position=free, leave=False)

    def progress(self, run: PlannedRun, progress: Progress) -> None:
        """Move the bar of a run."""
        bar = self.run_bars.get(run.key)
        if bar is not None:
            if bar.total != progress.iterations or progress.iteration < bar.n:
                bar.reset(progress.iterations)
            bar.set_postfix_str(progress.summary, refresh=False)
            bar.update(progress.iteration - bar.n)

    def warn(self, text: str) -> None:
        """Print to the error output, above the bars."""
        with tqdm.external_write_mode(file=sys.stderr):
            sys.stderr.write(f"warning: {text}\n")

    def note(self, text: str) -> None:
        """Print above the bars."""
        if self.is_terminal:
            with tqdm.external_write_mode(file=sys.stdout):
                self.say(text)
        else:
            self.say(text)

    def requeue(self, run: PlannedRun, text: str) -> None:
        """Remove the bar of a run."""
        self._remove_bar(run)
        self.note(text)

    def repeat(self, text: str) -> None:
        """Count one run more."""
        self.total += 1
        self.bar.total = self.total
        self.note(text)

    def skip(self, run: PlannedRun, text: str) -> None:
        """Count a run."""
        self._remove_bar(run)
        self.done += 1
        self.bar.update()
        self.note(text)

    def finish(self, run: PlannedRun, row: pd.DataFrame, tables: Mapping[str, pd.DataFrame]) -> None:
        """Count a run, and print its result with its number."""
        number = f"[{self.done + 1}/{self.total}] " if self.total > 1 and not self.is_terminal else ""
        self.skip(run, number + self.describe(run, row, tables))

    def close(self) -> None:
        """Close all bars; the bar of the campaign stays visible."""
        for bar in self.run_bars.values():
            bar.close()
        self.bar.close()

    def _remove_bar(self, run: PlannedRun) -> None:
        bar = self.run_bars.pop(run.key, None)
        if bar is not None:
            bar.close()
