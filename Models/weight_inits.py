"""Initial kernels by name: new values for the kernels with a mask, as the programs of supermasks draw them.

A supermask is found on weights that are not trained, so their distribution matters. The rules come from the program of
Ramanujan et al. 2020 ("What's hidden in a randomly weighted neural network?"), which found that constants with random
signs work best. The programs of Gem-Miner (Sreenivasan et al. 2022, "Rare gems") and of the sparse-network-analysis
thesis have the same rules. `Utils/config/choices.py` has the names without PyTorch.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from Layers import require_prunable
from Utils.errors import unknown

Rule = Callable[[Tensor, torch.Generator], Tensor]
"""New values for a kernel, on any device: a function of the kernel and a generator on the CPU."""


def _drawn(fill: Callable[..., Tensor], **options: float | str) -> Rule:
    """A function of `nn.init` as a rule; the draws depend on neither the device nor the layout of the kernel."""

    def rule(kernel: Tensor, generator: torch.Generator) -> Tensor:
        return fill(torch.empty(kernel.shape, dtype=kernel.dtype), generator=generator, **options)

    return rule


def _kaiming_std(kernel: Tensor) -> float:
    """sqrt(2 / fan_in), the gain of ReLU (He et al. 2015)."""
    fan_in, _ = nn.init._calculate_fan_in_and_fan_out(kernel)
    return nn.init.calculate_gain("relu") / math.sqrt(fan_in)


def _xavier_std(kernel: Tensor) -> float:
    """sqrt(2 / (fan_in + fan_out)) (Glorot & Bengio 2010)."""
    return math.sqrt(2 / sum(nn.init._calculate_fan_in_and_fan_out(kernel)))


def _signed(kernel: Tensor, constant: float) -> Tensor:
    """A constant with the sign of each weight; a weight of 0 counts as positive, because no constant may be 0."""
    return torch.full_like(kernel, constant).where(kernel >= 0, -constant)


WEIGHT_INITS: dict[str, Rule] = {
    "signed-constant": lambda kernel, _: _signed(kernel, _kaiming_std(kernel)),
    "unsigned-constant": lambda kernel, _: torch.full_like(kernel, _kaiming_std(kernel)),
    "kaiming-normal": _drawn(nn.init.kaiming_normal_, nonlinearity="relu"),
    "kaiming-uniform": _drawn(nn.init.kaiming_uniform_, nonlinearity="relu"),
    "xavier-normal": _drawn(nn.init.xavier_normal_),
    "xavier-constant": lambda kernel, _: _signed(kernel, _xavier_std(kernel)),
    "standard": _drawn(nn.init.kaiming_uniform_, a=math.sqrt(5)),
}
"""Rules by name. A constant is the standard deviation of the normal rule; `standard` is PyTorch's default."""


@torch.no_grad()
def reinitialise(model: nn.Module, name: str, generator: torch.Generator, scale: float = 1.0) -> None:
    """Replace the values of all kernels with a mask by those of a rule, in place; everything else stays.

    Pruned entries get new values, too. `scale` multiplies the fan: with the target density, units of the pruned network
    have the variance that units of the dense one would have (the programs' `scale_fan`, there for some rules only).
    Random draws come from `generator`, on the CPU, kernel by kernel in the order of the model. Raises `UserError` for
    an unknown name, and `ValueError` for a scale that is not positive or a model without prunable parameters.
    """
    if name not in WEIGHT_INITS:
        raise unknown("weight initialisation", name, WEIGHT_INITS)
    if not scale > 0:
        raise ValueError(f"the scale of the fan is {scale}; it must be greater than 0")
    for kernel, _ in require_prunable(model).values():
        if kernel.dim() > 1:
            kernel.copy_(WEIGHT_INITS[name](kernel, generator) / math.sqrt(scale))
