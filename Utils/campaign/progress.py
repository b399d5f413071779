"""Campaign progress: bars on a terminal, one line per finished run in a file or a pipe.

On a terminal one bar counts all runs, and each running one has a bar of its own.
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass, field

from tqdm import tqdm

from Utils.training.context import Progress

_LINES = 8
"""The most bars of running networks that are shown below each other."""


@dataclass
class CampaignProgress:
    """Shows how far a campaign is."""

    say: Callable[[str], object]
    """Prints a message to the user."""
    total: int
    """The number of runs."""
    done: int = 0
    """Runs that were finished at the start."""
    shows_runs: bool = False
    """Whether to show a bar for each running network; False where the training loop draws its own."""
    bars: dict[str, tqdm] = field(default_factory=dict)

    def __post_init__(self) -> None:
        is_shown = self.total > 1
        self.bar = tqdm(
            total=self.total, initial=self.done, desc="campaign", unit="network", smoothing=0.1,
            dynamic_ncols=True, disable=None if is_shown else True,
        )  # fmt: skip
        self.is_terminal = not self.bar.disable

    def print_above(self, text: str) -> None:
        """Print a message above the bars."""
        if self.is_terminal:
            with tqdm.external_write_mode(file=sys.stdout):
                self.say(text)
        else:
            self.say(text)

    def warn(self, text: str) -> None:
        """Print a warning above the bars."""
        with tqdm.external_write_mode(file=sys.stderr):
            sys.stderr.write(f"warning: {text}\n")

    def start(self, name: str, title: str) -> None:
        """Show that a run has started."""
        if self.is_terminal and self.shows_runs and len(self.bars) < _LINES:
            free = min(set(range(1, _LINES + 1)) - {bar.pos and abs(bar.pos) for bar in self.bars.values()})
            self.bars[name] = tqdm(desc=title, unit="step", dynamic_ncols=True, position=free, leave=False)

    def update(self, name: str, progress: Progress) -> None:
        """Show how far a run is."""
        bar = self.bars.get(name)
        if bar is not None:
            if bar.total != progress.iterations or progress.iteration < bar.n:
                bar.reset(progress.iterations)
            bar.set_postfix_str(progress.summary, refresh=False)
            bar.update(progress.iteration - bar.n)

    def finish(self, name: str, text: str, is_final: bool = True) -> None:
        """Print a message about a run that has finished or, with `is_final=False`, will be executed again."""
        bar = self.bars.pop(name, None)
        if bar is not None:
            bar.close()
        if is_final:
            self.done += 1
            self.bar.update()
        if text:
            self.print_above(text)

    def close(self) -> None:
        """Close all bars; the bar of the campaign stays visible."""
        for bar in self.bars.values():
            bar.close()
        self.bar.close()
