"""Random scores: the baseline for every criterion."""

import torch
from torch import Tensor, nn

from Layers import prunable


def random(model: nn.Module, batches: object, generator: torch.Generator) -> dict[str, Tensor]:
    """Independent uniform scores in [0, 1), float64. They do not depend on the sparsity, so masks are nested."""
    return {
        name: torch.rand(weight.shape, generator=generator, dtype=torch.float64).to(weight.device)
        for name, (weight, _) in prunable(model).items()
    }
