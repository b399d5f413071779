"""SynFlow: preserves the synaptic flow (Tanaka et al. 2020, "Pruning neural networks without any data").

Scores are computed in a linear network with positive weights, whose sources are the input and the biases. They are
conserved: the scores of a layer's weights, and of the biases that enter at that layer or after it, add up to the same
total. Without biases, pruning in many rounds therefore empties no layer before it must.
"""

import torch
from torch import Tensor, nn

from Layers import prunable
from Pruners.criteria.linearised import Linear, source
from Pruners.criteria.scores import Batches
from Utils.errors import UserError


def synflow(model: nn.Module, batches: Batches, generator: object) -> dict[str, Tensor]:
    """|w| dR/d|w| (eq. 4) of a linearised model, where R is the sum of its outputs for an input of ones.

    Only the shape of the first batch is used. Scores share one unknown factor, a power of two. Raises `UserError` if
    there is no batch.
    """
    first = next(iter(batches), None)
    if first is None:
        raise UserError("synflow needs one batch, for the shape of an input")
    return flow_scores(model, tuple(first[0].shape[1:]))


def flow_scores(model: nn.Module, input_shape: tuple[int, ...]) -> dict[str, Tensor]:
    """SynFlow scores for an input shape without the batch; pruned entries score 0 and their weights are set to 0."""
    return scores_and_flow(model, input_shape)[0]


def scores_and_flow(model: nn.Module, input_shape: tuple[int, ...]) -> tuple[dict[str, Tensor], float]:
    """Results of `flow_scores`, and R with the same factor: what the scores of every cut of the network add up to."""
    parameters = prunable(model)
    weights = {name: weight for name, (weight, _) in parameters.items()}
    with torch.no_grad():
        for weight, mask in parameters.values():
            weight.masked_fill_(~mask, 0)
    with Linear():
        flow = model(source(input_shape, next(iter(weights.values())).device)).sum()
    gradients = torch.autograd.grad(flow, list(weights.values()), allow_unused=True)
    scores = {
        name: torch.zeros_like(weight) if gradient is None else gradient.mul_(weight.detach())
        for (name, weight), gradient in zip(weights.items(), gradients, strict=True)
    }
    return scores, float(flow.detach())
