"""Initial scores of supermasks, one function per distribution; all draws come from a generator on the CPU."""

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

ScoreInit = Callable[[Tensor, torch.Generator], Tensor]
"""Maps a weight to scores of its shape, on the CPU."""


def uniform(weight: Tensor, generator: torch.Generator) -> Tensor:
    """Uniform in [0, 1)."""
    return torch.rand(weight.shape, generator=generator)


def half(weight: Tensor, generator: torch.Generator) -> Tensor:
    """1/2 everywhere, which rounds to 0."""
    return torch.full(weight.shape, 0.5)


def bernoulli(weight: Tensor, generator: torch.Generator) -> Tensor:
    """0 or 1, each with probability 1/2."""
    return torch.randint(2, weight.shape, generator=generator).float()


def bimodal(weight: Tensor, generator: torch.Generator) -> Tensor:
    """Beta(0.1, 0.1): most scores are close to 0 or 1."""
    return _beta(0.1, 0.1, weight, generator)


def skew(weight: Tensor, generator: torch.Generator) -> Tensor:
    """Beta(1, 5): mean 1/6, 1 of 32 scores above 1/2."""
    return _beta(1.0, 5.0, weight, generator)


def kaiming_uniform(weight: Tensor, generator: torch.Generator) -> Tensor:
    """Uniform between -1 / sqrt(fan_in) and 1 / sqrt(fan_in), as PyTorch initialises kernels; of edge-popup."""
    fan_in = weight[0].numel() if weight.dim() > 1 else weight.numel()
    return (2 * torch.rand(weight.shape, generator=generator) - 1) / math.sqrt(fan_in)


def _beta(a: float, b: float, weight: Tensor, generator: torch.Generator) -> Tensor:
    seed = int(torch.randint(1 << 62, (), generator=generator))
    return torch.from_numpy(np.random.default_rng(seed).beta(a, b, tuple(weight.shape))).float()


SCORE_INITS: dict[str, ScoreInit] = {
    "uniform": uniform, "half": half, "bernoulli": bernoulli, "bimodal": bimodal, "skew": skew,
    "kaiming-uniform": kaiming_uniform,
}  # fmt: skip
