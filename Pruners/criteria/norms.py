"""Unit norms: a weight scores the norm of its unit (Li et al. 2017, "Pruning filters for efficient ConvNets").

A unit is an output of a linear layer or a filter of a convolution.
"""

from torch import Tensor, nn

from Layers import prunable


def l1(model: nn.Module, batches: object, generator: object) -> dict[str, Tensor]:
    """Sum of |w| over all weights into the same unit."""
    return _norms(model, 1)


def l2(model: nn.Module, batches: object, generator: object) -> dict[str, Tensor]:
    """Euclidean norm of all weights into the same unit."""
    return _norms(model, 2)


def _norms(model: nn.Module, order: int) -> dict[str, Tensor]:
    """Norm of the unit's kept weights, expanded to the shape of the parameter, in float64."""
    scores = {}
    for name, (weight, mask) in prunable(model).items():
        kept = (weight.detach() * mask).double()
        norms = kept.reshape(len(kept), -1).norm(order, dim=1)
        scores[name] = norms.reshape(-1, *[1] * (kept.dim() - 1)).expand(kept.shape)
    return scores
