"""Networks of a user that fail, or try to end the process, while they are trained; `KINDS` names the ways."""

import os
from collections.abc import Callable

import torch
from torch import nn


class Odd(BaseException):
    pass


class MuteError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no message")


class NoTextError(Exception):
    def __str__(self) -> str:
        return 3  # type: ignore[return-value]


def raising(error: BaseException) -> Callable[[], None]:
    def fail() -> None:
        raise error

    return fail


KINDS: dict[str, Callable[[], object]] = {
    "exits": raising(SystemExit(0)),
    "interrupts": raising(KeyboardInterrupt()),
    "leaves": lambda: os._exit(0),
    "odd": raising(Odd("no usual exception")),
    "mute": raising(MuteError()),
    "no_text": raising(NoTextError()),
    "sound": lambda: None,
    "huge": raising(RuntimeError("first line\nsecond line\x1b[31m \udcff" + "x" * 100_000)),
}


class Failing(nn.Sequential):
    """Runs through every probe, which has few images in evaluation mode, and fails in training."""

    def __init__(self, fail: Callable[[], object]) -> None:
        super().__init__(nn.Flatten(), nn.Linear(784, 10))
        self.fail = fail

    def forward(self, x: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
        if self.training and isinstance(x, torch.Tensor):  # not where torch.fx traces it
            self.fail()
        return super().forward(x)


class Probed(Failing):
    """Fails in the probe."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
        self.fail()
        return x


def __getattr__(name: str) -> Callable[[], object]:
    """The factories: KIND fails in training, KIND_in_factory and KIND_in_probe earlier."""
    kind, _, place = name.partition("_in_")
    if kind not in KINDS:
        raise AttributeError(name)
    return {"": lambda: Failing(KINDS[kind]), "factory": KINDS[kind], "probe": lambda: Probed(KINDS[kind])}[place]
