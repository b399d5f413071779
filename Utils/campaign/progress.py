"""What does the user see of runs that are carried out?

On a terminal, a bar for all of them and a line for each that is running now; into a file or a pipe, a line for each
that is over.
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass, field

from tqdm import tqdm

from Utils.distributed.process_group import is_first
from Utils.training.context import Progress

_LINES = 8
"""Bars of running networks at most: more would not fit below each other."""


@dataclass
class CampaignProgress:
    """Shows a campaign."""

    say: Callable[[str], object]
    """Tells the user something."""
    total: int
    """The number of runs."""
    done: int = 0
    """Those complete at the start."""
    shows_runs: bool = False
    """Whether running networks have no bars of their own already."""
    bars: dict[str, tqdm] = field(default_factory=dict)

    def __post_init__(self) -> None:
        is_shown = self.total > 1
        self.bar = tqdm(
            total=self.total, initial=self.done, desc="campaign", unit="network", smoothing=0.1,
            dynamic_ncols=True, disable=None if is_shown and is_first() else True,
        )  # fmt: skip
        self.is_terminal = not self.bar.disable

    def print_above(self, text: str) -> None:
        """Say something above the bars."""
        if self.is_terminal:
            with tqdm.external_write_mode(file=sys.stdout):
                self.say(text)
        else:
            self.say(text)

    def warn(self, text: str) -> None:
        """Warn above the bars."""
        with tqdm.external_write_mode(file=sys.stderr):
            sys.stderr.write(f"warning: {text}\n")

    def start(self, name: str, title: str) -> None:
        """A run begins."""
        if self.is_terminal and self.shows_runs and len(self.bars) < _LINES:
            free = min(set(range(1, _LINES + 1)) - {bar.pos and abs(bar.pos) for bar in self.bars.values()})
            self.bars[name] = tqdm(desc=title, unit="step", dynamic_ncols=True, position=free, leave=False)

    def update(self, name: str, progress: Progress) -> None:
        """A run is so far."""
        bar = self.bars.get(name)
        if bar is not None:
            if bar.total != progress.iterations or progress.iteration < bar.n:
                bar.reset(progress.iterations)
            bar.set_postfix_str(progress.summary, refresh=False)
            bar.update(progress.iteration - bar.n)

    def finish(self, name: str, text: str, is_over: bool = True) -> None:
        """A run is over, or will begin again."""
        bar = self.bars.pop(name, None)
        if bar is not None:
            bar.close()
        if is_over:
            self.done += 1
            self.bar.update()
        if text:
            self.print_above(text)

    def close(self) -> None:
        """Leave the bar of all runs as it is."""
        for bar in self.bars.values():
            bar.close()
        self.bar.close()
