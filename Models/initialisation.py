"""Keras defaults for initial weights and normalisation, as in the effective-sparsity program, written in Keras."""

from typing import Any

from torch import nn

_TRUNCATED_STD = 0.87962566103423978
"""Standard deviation of the standard normal distribution truncated at two standard deviations."""


def keras_normalisation(batchnorm: str) -> dict[str, Any]:
    """Keyword arguments of PyTorch's batch normalisation for Keras' defaults."""
    # Keras' momentum of 0.99 weights the old value; PyTorch's momentum weights the new value.
    return {"eps": 1e-3, "momentum": 0.01, "track_running_stats": batchnorm == "running"}


def keras_initialise(model: nn.Module) -> nn.Module:
    """Initialise in place: truncated normal kernels of variance 2 / fan_avg = 4 / (fan_in + fan_out), zero biases."""
    for layer in model.modules():
        if isinstance(layer, nn.Linear | nn.Conv2d):
            fan_in, fan_out = nn.init._calculate_fan_in_and_fan_out(layer.weight)
            std = (4 / (fan_in + fan_out)) ** 0.5 / _TRUNCATED_STD
            nn.init.trunc_normal_(layer.weight, std=std, a=-2 * std, b=2 * std)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
    return model
