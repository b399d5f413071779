"""Worker memory: what a worker process keeps from one run to the next, so that it is not read or computed again."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from torch import Tensor

from Utils.data.image_spec import ImageArrays, ImageSpec

_CACHED_SCORES = 1 << 26
"""Number of scores that the cache holds: 512 MiB."""

ScoreMap = TypeVar("ScoreMap", bound=Mapping[str, Tensor])


@dataclass
class ScoreCache:
    """Scores of the last runs, for runs that differ only in steps after scoring."""

    entries: dict[str, tuple[Mapping[str, Tensor], float]] = field(default_factory=dict)
    """Scores, and the seconds that they took, by key; the oldest first."""

    def of(self, key: str, compute: Callable[[], ScoreMap]) -> tuple[ScoreMap, float]:
        """Scores from the cache or computed now, and the seconds that the cache saved."""
        if key in self.entries:
            return self.entries[key]  # type: ignore[return-value]  # a key belongs to one kind of scores
        started = time.perf_counter()
        scores = compute()
        self.entries[key] = scores, time.perf_counter() - started
        size = sum(score.numel() for score in scores.values())
        while len(self.entries) > max(1, _CACHED_SCORES // size):
            del self.entries[next(iter(self.entries))]
        return scores, 0.0


@dataclass
class WorkerMemory:
    """Images that were sent to a worker process, and the scores that it computed."""

    images: Mapping[tuple[str, str, ImageSpec], ImageArrays] = field(default_factory=dict)
    """By name, path and spec, for a process without access to the files."""
    scores: ScoreCache = field(default_factory=ScoreCache)
