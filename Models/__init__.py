"""The registry of architectures, readable without torch, and `build`, which makes one.

A new architecture is a function `(input_shape, classes, batchnorm) -> nn.Module` in a file here, and a line below.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import torch
    from torch import nn


class Architecture(NamedTuple):
    """One line of the registry."""

    target: str
    label: str
    data: str
    """The data set of its own recipe, used when `--data` is left out."""
    input_shape: tuple[int, int, int]
    """Channels, height and width of its own input."""


ARCHITECTURES: dict[str, Architecture] = {
    "lenet300100": Architecture("Models.lenet:lenet300100", "LeNet-300-100", "mnist", (1, 28, 28)),
    "lenet5": Architecture("Models.lenet:lenet5", "LeNet-5", "cifar10", (3, 32, 32)),
}


def build(
    name: str,
    input_shape: tuple[int, int, int] | None = None,
    classes: int = 10,
    batchnorm: str = "running",
    generator: torch.Generator | None = None,
) -> nn.Module:
    """Make an architecture of masked layers with fresh initial weights and full masks.

    `input_shape` is (channels, height, width), by default the architecture's own. `batchnorm="batch"` normalises with
    the statistics of the batch at test time too. With a `generator` (CPU) the weights depend on nothing else.
    Raises `ValueError` for an unknown name or an input that the architecture cannot take.
    """
    import torch

    if name not in ARCHITECTURES:
        raise ValueError(f"unknown architecture {name!r}; there are: {', '.join(ARCHITECTURES)}")
    architecture = ARCHITECTURES[name]
    module, function = architecture.target.split(":")
    with torch.random.fork_rng(devices=[]):
        if generator is not None:
            seed = torch.randint(2**62, (1,), generator=generator)
            torch.default_generator.manual_seed(int(seed))
        return getattr(import_module(module), function)(input_shape or architecture.input_shape, classes, batchnorm)
