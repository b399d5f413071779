"""Neural tangent kernel: trace and condition number of the empirical kernel of a masked network on a fixed batch."""

import copy
import math
from collections.abc import Mapping
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.func import functional_call

from Layers import require_prunable
from Utils.example_gradients import AT_ONCE, example_gradients, fix_statistics

_ROUNDING = 1000
"""Standard deviation, in units of the last place of the mean, up to which a channel is constant."""


class NTK(NamedTuple):
    """Two statistics of an empirical neural tangent kernel."""

    trace: float
    """Sum of the eigenvalues."""
    condition: float
    """Largest eigenvalue divided by the smallest; infinite if the kernel is singular in double precision."""


def ntk(model: nn.Module, images: Tensor) -> NTK:
    """Trace and condition number of the kernel of `images` (n, channels, height, width); see `kernel`."""
    eigenvalues = torch.linalg.eigvalsh(kernel(model, images))
    lowest, highest = float(eigenvalues[0]), float(eigenvalues[-1])
    # Below this bound, rounding decides about an eigenvalue, even about its sign.
    is_singular = lowest <= highest * len(eigenvalues) * torch.finfo(torch.float64).eps
    return NTK(float(eigenvalues.sum()), math.inf if is_singular else highest / lowest)


def kernel(model: nn.Module, images: Tensor, entries: int = AT_ONCE) -> Tensor:
    """The empirical neural tangent kernel of summed outputs: float64 (n, n), symmetric.

    K_ij is the inner product of the gradients of sum_c f_c(x_i) and sum_c f_c(x_j) with respect to the kept weights,
    where f_c are the outputs. It is the kernel of Jacot et al. 2018 ("Neural tangent kernel"), summed over outputs as
    in Chen et al. 2021 (TE-NAS), which uses its condition number; Wang et al. 2023 (NTK-SAP) use a trace. Normalisation
    uses the statistics of these images, so that it needs two at least. A normalised unit that is the same for all
    images passes no gradient, as in training. The model is left bit-identical. At most about `entries` numbers of
    gradients are in memory, or those of two images.
    """
    masks = {name: mask.reshape(-1) for name, (_, mask) in require_prunable(model).items()}
    copied, images = copy.deepcopy(model).double().train(), images.double()
    fix_statistics(copied, [(images, images)])
    _block_constants(copied)
    weights = {name: weight.detach() for name, (weight, _) in require_prunable(copied).items()}
    size = max(1, entries // (2 * sum(weight.numel() for weight in weights.values())))
    parts = images.split(size)

    def summed(weights: Mapping[str, Tensor], image: Tensor) -> Tensor:
        return functional_call(copied, dict(weights), (image[None],)).sum()

    kept = sum(int(mask.sum()) for mask in masks.values())

    # Gradients of kept weights alone often fit into memory for all images; otherwise they are computed again.
    @lru_cache(maxsize=max(1, entries // max(1, 2 * size * kept)))
    def rows(index: int) -> Tensor:
        (gradients,) = example_gradients(summed, weights, parts[index], at_once=size)
        return torch.cat([gradients[name].flatten(1)[:, mask] for name, mask in masks.items()], 1)

    blocks = [[rows(i) @ rows(j).T for j in range(i + 1)] for i in range(len(parts))]
    full = [[blocks[i][j] if j <= i else blocks[j][i].T for j in range(len(parts))] for i in range(len(parts))]
    return torch.cat([torch.cat(row, 1) for row in full])


def _block_constants(model: nn.Module) -> None:
    """Let normalised channels that are constant up to rounding be equal to their shifts, whatever their inputs.

    Otherwise rounding decides on which side of its kink a rectified unit is, and division by a tiny deviation amplifies
    the gradients that then pass.
    """
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            assert module.running_mean is not None and module.running_var is not None
            rounding = module.running_mean.abs() * _ROUNDING * torch.finfo(module.running_mean.dtype).eps
            module.running_var[module.running_var <= rounding.square()] = math.inf
