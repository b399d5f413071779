"""What surrounds the run that this process carries out: who hears how far it is, and where does it go on from?

A run's checkpoints are one file for each of its trainings, in order. Those that are over are as they were left; the one
that was interrupted goes on after its last step. Everything between trainings is made again, the same as before. A file
holds tensors and plain values behind a digest of them and of whose they are, and is read without running code.
"""

import io
import pickle
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

import torch

SECONDS_BETWEEN_CHECKPOINTS = 300.0
"""Unless a number of steps is given."""

_FORMAT = 1
"""Other than that of programs whose checkpoints hold something else."""

_DIGEST = sha256().digest_size


@dataclass(frozen=True)
class Progress:
    """How far a training is."""

    iteration: int
    iterations: int
    summary: str


@dataclass(frozen=True)
class Evaluation:
    """What an evaluation found: a row of `training.csv`, of which training of its run."""

    training: int
    values: dict[str, float]


@dataclass(frozen=True)
class WarningIssued:
    """A warning."""

    text: str


@dataclass(frozen=True)
class CheckpointSaved:
    """The content of a run's checkpoint file."""

    name: str
    content: bytes


Event = Progress | Evaluation | WarningIssued | CheckpointSaved


def _ignore(event: Event) -> None:
    pass


@dataclass
class RunContext:
    """What a run finds where it is carried out."""

    listener: Callable[[Event], None] = _ignore
    checkpoints: Mapping[str, bytes] = field(default_factory=dict)
    """The checkpoint files that an interrupted run left, by name."""
    checkpoint_every: int | None = 0
    """Steps from one checkpoint to the next; None: minutes; 0: no checkpoints."""
    run_key: str = ""
    """The run's name: a checkpoint of another one is no use."""
    has_bar: bool = True
    """Whether training draws a bar of its own, below that many others."""
    bars_above: int = 0
    trainings: int = 0
    """Begun so far."""
    saved_at: float = field(default_factory=time.monotonic)

    def next_stage(self) -> "TrainingStage":
        """The next training."""
        self.trainings += 1
        return TrainingStage(self, self.trainings - 1)


@dataclass
class TrainingStage:
    """One training of a run."""

    context: RunContext
    number: int

    @property
    def name(self) -> str:
        """Of its file."""
        return f"checkpoint-{self.number}.pt"

    def load_checkpoint(self) -> dict[str, Any] | None:
        """What an interrupted run left; None if that is nothing, or nothing that can be read."""
        content = self.context.checkpoints.get(self.name)
        if content is None:
            return None
        digest, state = content[:_DIGEST], content[_DIGEST:]
        if digest == self._digest(state):
            with suppress(pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError, OSError):
                return torch.load(io.BytesIO(state), map_location="cpu", weights_only=True)
        reason = "damaged, or of another run or version of the program"
        self.context.listener(WarningIssued(f"{self.name} is {reason}; that training starts again"))
        return None

    def _digest(self, state: bytes) -> bytes:
        digest = sha256(f"{_FORMAT} {self.context.run_key} {self.name}\n".encode())
        digest.update(state)
        return digest.digest()

    @property
    def is_timed(self) -> bool:
        """Whether the clock, rather than a number of steps, says when to keep a checkpoint."""
        return self.context.checkpoint_every is None

    def is_due(self, iteration: int, is_last: bool) -> bool:
        """Whether it is time to keep a checkpoint."""
        every = self.context.checkpoint_every
        if every is None:
            return time.monotonic() - self.context.saved_at >= SECONDS_BETWEEN_CHECKPOINTS
        return every > 0 and (is_last or iteration % every == 0)

    def save_checkpoint(self, state: Mapping[str, Any]) -> None:
        """Keep a checkpoint."""
        buffer = io.BytesIO()
        torch.save(dict(state), buffer)
        content = buffer.getvalue()
        self.context.listener(CheckpointSaved(self.name, self._digest(content) + content))
        self.context.saved_at = time.monotonic()

    def report_progress(self, iteration: int, iterations: int, words: str) -> None:
        """Say how far it is."""
        self.context.listener(Progress(iteration, iterations, words))

    def report_evaluation(self, values: dict[str, float]) -> None:
        """Say what an evaluation found."""
        self.context.listener(Evaluation(self.number, values))


_context = RunContext()


def run_context() -> RunContext:
    """Those of the run that this process carries out."""
    return _context


@contextmanager
def use_context(those: RunContext) -> Iterator[None]:
    """Carry out a run in these surroundings."""
    global _context
    before, _context = _context, those
    try:
        yield
    finally:
        _context = before
