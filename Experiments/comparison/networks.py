"""Compared networks: trained models with their masks, and their layers as arrays of effective weights."""

from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from torch import nn

from Layers import prunable
from Utils.connectivity.effective import effective_masks
from Utils.connectivity.interpreter import output_layers


@dataclass(frozen=True)
class Layer:
    """The weights of a masked layer. All analyses read the effective mask, which is the mask that acts."""

    name: str
    """Name of its module, such as `layers.0`."""
    weights: np.ndarray
    """float64 (units, inputs) or (channels, inputs, height, width), 0 where `effective` is False."""
    effective: np.ndarray
    """bool, like `weights`: kept entries on a path from an input to an output."""
    kept: np.ndarray
    """bool, like `weights`: the mask itself."""
    is_output: bool
    """Whether its units are the logits, whose order is fixed."""

    @property
    def is_convolution(self) -> bool:
        """Whether the units are channels."""
        return self.weights.ndim > 2


@dataclass(frozen=True)
class Network:
    """A finished run, as it is compared."""

    name: str
    """A short name that no other compared network has, such as `snip 0.02 s1`."""
    group: str
    """The name without the sample: networks of one group differ in their sample alone."""
    sample: int
    model: nn.Module
    """The trained network with its masks, in evaluation mode."""
    input_shape: tuple[int, ...]
    folder: str
    """The folder of its run."""
    key: str
    """The key of its run."""

    @property
    def columns(self) -> dict[str, Any]:
        """The columns that name it in tables."""
        return {"network": self.name, "group": self.group, "sample": self.sample}

    @cached_property
    def layers(self) -> tuple[Layer, ...]:
        """The masked weights of its layers, in the order of its modules; masked biases and factors are left out."""
        effective = effective_masks(self.model, self.input_shape)
        outputs = output_layers(self.model)
        return tuple(
            _layer(
                name, weight.detach().double().cpu().numpy(), mask.cpu().numpy(), effective[name].cpu().numpy(), outputs
            )
            for name, (weight, mask) in prunable(self.model).items()
            if weight.dim() > 1
        )


def _layer(name: str, weight: np.ndarray, kept: np.ndarray, effective: np.ndarray, outputs: Collection[str]) -> Layer:
    module = name.rpartition(".")[0]
    return Layer(module, np.where(effective, weight, 0.0), effective, kept, module in outputs)
