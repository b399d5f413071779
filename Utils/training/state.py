"""State of a training under way: what callbacks see, and what a checkpoint holds."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from Layers.forms.weight_form import WeightForm
from Utils.training.evaluation import History, RunningScores
from Utils.training.task import TrainingTask

CHECK_EVERY = 50
"""Steps between checks of the running loss: each check makes the host wait for the device."""


@dataclass
class Stopwatch:
    """The seconds of a training, without those of tests and checkpoints."""

    seconds: float = 0.0
    started: float | None = None

    def start(self) -> None:
        """Count from now on."""
        self.started = time.perf_counter()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Context that does not count."""
        if self.started is not None:
            self.seconds += time.perf_counter() - self.started
        try:
            yield
        finally:
            self.start()


@dataclass
class TrainingState:
    """A training under way."""

    task: TrainingTask
    form: WeightForm
    optimizer: torch.optim.Optimizer
    running: RunningScores
    """Scores of the training images since the last test."""
    step: int = 0
    """Number of steps done, with those that the task leaves out."""
    clock: Stopwatch = field(default_factory=Stopwatch)

    def __post_init__(self) -> None:
        self.histories = [History() for _ in range(self.form.members)]
        """One record per member of the form."""

    @property
    def is_over(self) -> bool:
        """Whether no step follows: all are done, or every member has an error."""
        return self.step >= self.task.recipe.iterations or all(history.error for history in self.histories)

    @property
    def is_test_due(self) -> bool:
        """Whether the network is tested after this step."""
        return self.step % self.task.recipe.evaluate_every == 0 or self.is_over

    @property
    def is_check_due(self) -> bool:
        """Whether the running loss is checked after this step."""
        return self.step % CHECK_EVERY == 0 or self.is_test_due

    def shared(self) -> dict[str, Any]:
        """What a checkpoint holds once for all processes of the training."""
        return {
            "iteration": self.step,
            "model": self.form.state(),
            "optimizer": self.optimizer.state_dict(),
            "rows": [history.rows for history in self.histories],
            "errors": [history.error for history in self.histories],
            "seconds": self.clock.seconds,
        }

    def own(self) -> dict[str, Any]:
        """What a checkpoint holds for each process of the training."""
        sums = self.running.sums
        return {"sums": sums.cpu(), "generators": _generator_states(sums.device)}

    def load(self, shared: Mapping[str, Any], own: Mapping[str, Any]) -> None:
        """Restore results of `shared` and `own`."""
        self.step = shared["iteration"]
        self.form.load(shared["model"])
        self.optimizer.load_state_dict(shared["optimizer"])
        pairs = zip(shared["rows"], shared["errors"], strict=True)
        self.histories = [History(rows, error) for rows, error in pairs]
        self.clock = Stopwatch(shared["seconds"])
        self.running.sums.copy_(own["sums"])
        _set_generator_states(own["generators"], self.running.sums.device)


def _generator_states(device: torch.device) -> list[Tensor]:
    """States of PyTorch's global generators, which dropout uses."""
    states = [torch.get_rng_state()]
    return [*states, torch.cuda.get_rng_state(device)] if device.type == "cuda" else states


def _set_generator_states(states: list[Tensor], device: torch.device) -> None:
    torch.set_rng_state(states[0])
    if device.type == "cuda" and len(states) > 1:
        torch.cuda.set_rng_state(states[1], device)
