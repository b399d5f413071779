"""SynFlow: keep the synaptic flow through every layer (Tanaka et al. 2020, "Pruning neural networks without any data").

Scores are those of a linear network of positive weights, so they are conserved: in every layer they add up to the same
total, and pruning in many rounds empties no layer before it must.
"""

import torch
from torch import Tensor, nn

from Layers import prunable
from Pruners.criteria.linearised import Linear, source
from Pruners.criteria.scores import Batches
from Utils.errors import UserError


def synflow(model: nn.Module, batches: Batches, generator: object) -> dict[str, Tensor]:
    """|w| dR/d|w| (eq. 4) of a linearised model, R the sum of its outputs for an input of ones.

    Batches give the shape of an input only. Scores are up to one factor for all, a power of two.
    """
    first = next(iter(batches), None)
    if first is None:
        raise UserError("synflow needs one batch, for the shape of an input")
    return flow_scores(model, tuple(first[0].shape[1:]))


def flow_scores(model: nn.Module, input_shape: tuple[int, ...]) -> dict[str, Tensor]:
    """The same for a given shape of input, without the batch; pruned entries have 0, and lose their weight."""
    parameters = prunable(model)
    weights = {name: weight for name, (weight, _) in parameters.items()}
    with torch.no_grad():
        for weight, mask in parameters.values():
            weight.masked_fill_(~mask, 0)
    with Linear():
        flow = model(source(input_shape, next(iter(weights.values())).device)).sum()
    gradients = torch.autograd.grad(flow, list(weights.values()), allow_unused=True)
    return {
        name: torch.zeros_like(weight) if gradient is None else gradient.mul_(weight.detach())
        for (name, weight), gradient in zip(weights.items(), gradients, strict=True)
    }
