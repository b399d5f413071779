"""Per-run context: where events are sent, and which checkpoints to resume from.

A run has one checkpoint file for each of its trainings, by name. A finished training is restored in its final state; an
interrupted training resumes after the step of its checkpoint. Everything between trainings is computed again, with
the same result. A file holds tensors and plain values, preceded by a digest of this content, the run, the file name and
the version of PyTorch. It is read without executing code.
"""

import io
import pickle
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, TypeVar

import torch

from Utils.training.memory import WorkerMemory

Result = TypeVar("Result")

SECONDS_BETWEEN_CHECKPOINTS = 300.0
"""Used if no number of steps is given."""

_FORMAT = 2
"""Version of the content of checkpoints: a new version invalidates older checkpoints."""

_DIGEST = sha256().digest_size


@dataclass(frozen=True)
class Event:
    """What happens while a bundle of runs is executed."""

    member: int = field(default=0, kw_only=True)
    """The run that the event is about, by its position in the bundle."""


@dataclass(frozen=True)
class Progress(Event):
    """The progress of a training, in steps, with a summary of loss and accuracy."""

    iteration: int
    iterations: int
    summary: str


@dataclass(frozen=True)
class Evaluation(Event):
    """The result of an evaluation, a row of `training.csv`, with the name of its training."""

    training: str
    values: dict[str, float]


@dataclass(frozen=True)
class WarningIssued(Event):
    """A warning to the user."""

    text: str


@dataclass(frozen=True)
class CheckpointSaved(Event):
    """The name and content of a new checkpoint file."""

    name: str
    content: bytes


def _ignore(event: Event) -> None:
    """Listener to events that nobody needs."""


def call(function: Callable[[], Result]) -> Result:
    """Call a function: what a single process agrees on."""
    return function()


@dataclass
class RunContext:
    """The environment of a run: the listener to its events, its checkpoints, its worker and its progress bars."""

    listener: Callable[[Event], None] = _ignore
    checkpoints: Mapping[str, bytes] = field(default_factory=dict)
    """Checkpoint files of the interrupted run, by name."""
    checkpoint_every: int | None = 0
    """Steps between checkpoints; None: `SECONDS_BETWEEN_CHECKPOINTS` between them; 0: no checkpoints."""
    run_key: str = ""
    """Name of the run; a checkpoint of another run is rejected."""
    has_bar: bool = True
    """Whether training shows its own progress bar."""
    bars_above: int = 0
    """Number of other progress bars above it."""
    memory: WorkerMemory = field(default_factory=WorkerMemory)
    """What the worker keeps between runs."""
    first_process: Callable[[Callable[[], Any]], Any] = call
    """Calls a function in the first process of the run, and returns its result in all of them."""
    trainings: set[str] = field(default_factory=set)
    """Names of the trainings started so far."""
    saved_at: float = field(default_factory=time.monotonic)
    """Time of the last checkpoint, initially of the start, on the monotonic clock."""

    def agree(self, function: Callable[[], Result]) -> Result:
        """The result of a function that only the first process of the run calls; tensors must be on the CPU."""
        return self.first_process(function)

    def stage(self, name: str) -> "TrainingStage":
        """Start a training; raises `ValueError` if the run already has one of this name."""
        if name in self.trainings:
            raise ValueError(f"the run has already a training {name!r}, so its checkpoint would be replaced")
        self.trainings.add(name)
        return TrainingStage(self, name)


@dataclass
class TrainingStage:
    """One training of a run: loads and saves its checkpoint, and reports its events."""

    context: RunContext
    training: str

    @property
    def name(self) -> str:
        """Name of the checkpoint file."""
        return f"checkpoint-{self.training}.pt"

    def load_checkpoint(self) -> dict[str, Any] | None:
        """State of the interrupted training; None if there is no checkpoint, or, with a warning, no valid one."""
        content = self.context.checkpoints.get(self.name)
        if content is None:
            return None
        digest, state = content[:_DIGEST], content[_DIGEST:]
        if digest == self._digest(state):
            with suppress(pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError, OSError):
                return torch.load(io.BytesIO(state), map_location="cpu", weights_only=True)
        reason = "damaged, or from another run, or another version of this program or of PyTorch"
        self.context.listener(WarningIssued(f"{self.name} is {reason}; this training restarts from its beginning"))
        return None

    def _digest(self, state: bytes) -> bytes:
        # Another version of PyTorch may draw other initial weights, so the rest of the run would not fit the training.
        versions = f"{_FORMAT} {torch.__version__}"
        digest = sha256(f"{versions} {self.context.run_key} {self.name}\n".encode())
        digest.update(state)
        return digest.digest()

    @property
    def is_timed(self) -> bool:
        """Whether checkpoints are saved by time rather than by a number of steps."""
        return self.context.checkpoint_every is None

    def is_due(self, iteration: int, is_last: bool) -> bool:
        """Whether a checkpoint is due after `iteration` steps."""
        every = self.context.checkpoint_every
        if every is None:
            return time.monotonic() - self.context.saved_at >= SECONDS_BETWEEN_CHECKPOINTS
        return every > 0 and (is_last or iteration % every == 0)

    def save_checkpoint(self, state: Mapping[str, Any]) -> None:
        """Serialise a state and send it to the listener as a checkpoint file."""
        buffer = io.BytesIO()
        torch.save(dict(state), buffer)
        content = buffer.getvalue()
        self.context.listener(CheckpointSaved(self.name, self._digest(content) + content))
        self.context.saved_at = time.monotonic()
