"""Norms of units: a weight counts as much as its whole unit (Li et al. 2017, "Pruning filters for efficient ConvNets").

A unit is an output of a dense layer, or a filter of a convolution.
"""

from torch import Tensor, nn

from Layers import prunable


def l1(model: nn.Module, batches: object, generator: object) -> dict[str, Tensor]:
    """The sum of |w| over the weights into a unit, for each of them."""
    return _norms(model, 1)


def l2(model: nn.Module, batches: object, generator: object) -> dict[str, Tensor]:
    """The Euclidean norm of the weights into a unit, for each of them."""
    return _norms(model, 2)


def _norms(model: nn.Module, order: int) -> dict[str, Tensor]:
    scores = {}
    for name, (weight, mask) in prunable(model).items():
        kept = (weight.detach() * mask).double()
        norms = kept.reshape(len(kept), -1).norm(order, dim=1)
        scores[name] = norms.reshape(-1, *[1] * (kept.dim() - 1)).expand(kept.shape)
    return scores
