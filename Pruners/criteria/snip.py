"""SNIP, FORCE and 3SP: sensitivity of the loss to weights and units.

Lee et al. 2019 ("SNIP: Single-shot network pruning"); de Jorge et al. 2021 ("Progressive skeletonization: trimming more
fat from a network at initialization"), who prune in many rounds: Iterative SNIP is the criterion `snip` in rounds.
"""

from torch import Tensor, nn

from Layers import prunable
from Pruners.criteria.gradients import hidden_gradients, loss_gradients
from Pruners.criteria.scores import Batches


def snip(model: nn.Module, batches: Batches, generator: object) -> dict[str, Tensor]:
    """|w dL/dw|, L = mean cross-entropy (Lee et al., eq. 4; the normalisation is omitted, as it keeps the order)."""
    gradients = loss_gradients(model, batches)
    return {name: (weight * gradients[name]).detach().abs() for name, (weight, _) in prunable(model).items()}


def units(model: nn.Module, batches: Batches, generator: object) -> dict[str, Tensor]:
    """abs(sum of w dL/dw over all weights into the same unit), which is |dL/dc| for a gate c = 1 on the unit.

    3SP: van Amersfoort et al. 2020 ("Single shot structured pruning before training").
    """
    gradients = loss_gradients(model, batches)
    scores = {}
    for name, (weight, mask) in prunable(model).items():
        products = (weight * mask * gradients[name]).detach().double()
        sums = products.reshape(len(products), -1).sum(1).abs()
        scores[name] = sums.reshape(-1, *[1] * (weight.dim() - 1)).expand(weight.shape)
    return scores


def force(model: nn.Module, batches: Batches, generator: object) -> dict[str, Tensor]:
    """|w dL/dv|, v = w where kept, 0 where pruned (de Jorge et al., eq. 7), so that pruned weights have a score."""
    gradients = hidden_gradients(model, batches)
    return {name: (weight.detach() * gradients[name]).abs() for name, (weight, _) in prunable(model).items()}
