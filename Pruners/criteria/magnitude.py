"""Magnitude: absolute weight (Han et al. 2015, "Learning both weights and connections")."""

from torch import Tensor, nn

from Layers import prunable


def magnitude(model: nn.Module, batches: object, generator: object) -> dict[str, Tensor]:
    """|w| of the model's current weights."""
    return {name: weight.detach().abs() for name, (weight, _) in prunable(model).items()}
