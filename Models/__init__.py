"""Architectures by name: `build` makes one with masked layers; `registry.py` lists them all."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from Models.registry import ARCHITECTURES, architecture, native_shape

if TYPE_CHECKING:
    import torch
    from torch import nn

__all__ = ["ARCHITECTURES", "build"]


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
    Raises `ValueError` for an unknown name, an input that the architecture cannot take, or a layer that cannot have a
    mask.
    """
    import torch

    module, function = architecture(name).target.split(":")
    make = getattr(import_module(module), function)
    shape = input_shape or native_shape(name)[0]
    with torch.random.fork_rng(devices=[]):
        if generator is not None:
            seed = torch.randint(2**62, (1,), generator=generator)
            torch.default_generator.manual_seed(int(seed))
        if name in ARCHITECTURES:
            return make(shape, classes, batchnorm, **architecture(name).options)
        return make(name, shape, classes, batchnorm)
