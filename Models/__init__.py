"""Architectures by name: `build` creates a network of masked layers; `registry.py` lists all names."""

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
    """Create a network of masked layers with initial weights and masks that keep all entries.

    `input_shape` is (channels, height, width), by default the architecture's native shape. `batchnorm="batch"`
    normalises with batch statistics at test time, too. With a `generator` (on the CPU), the weights depend only on it.
    Raises `ValueError` for an unknown name, an unsupported input shape, or a layer that cannot have a mask.
    """
    import torch

    module, function = architecture(name).target.split(":")
    factory = getattr(import_module(module), function)
    shape = input_shape or native_shape(name)[0]
    with torch.random.fork_rng(devices=[]):
        if generator is not None:
            seed = torch.randint(2**62, (1,), generator=generator)
            torch.default_generator.manual_seed(int(seed))
        if name in ARCHITECTURES:
            return factory(shape, classes, batchnorm, **architecture(name).options)
        return factory(name, shape, classes, batchnorm)
