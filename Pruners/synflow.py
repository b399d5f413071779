"""SynFlow: keep the synaptic flow through every layer (Tanaka et al. 2020, "Pruning neural networks without any data").

Scores are those of a linear network of positive weights, so they are conserved: in every layer they add up to the same
total, and pruning step by step, in many steps, empties no layer before it must.
"""

from collections.abc import Iterable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from Layers import prunable
from Layers.masked import Masked
from Utils.errors import UserError
from Utils.flow_rules import ACTIVATION_FUNCTIONS, ACTIVATIONS
from Utils.ordering import descending_order
from Utils.target import Target

ROUNDS = 100
"""Pruning steps of the paper's experiments."""

_SKIPPED = (*ACTIVATIONS, nn.Softmax, nn.LogSoftmax)
_SKIPPED_FUNCTIONS = {getattr(function, "__name__", function) for function in ACTIVATION_FUNCTIONS}
_SKIPPED_FUNCTIONS |= {"softmax", "log_softmax"}
_PRODUCTS = ("mul", "mul_", "__mul__", "__rmul__", "__imul__", "multiply")
_TINY = torch.finfo(torch.float64).tiny
_NOT_LINEAR = (nn.LayerNorm, nn.GroupNorm, nn.modules.instancenorm._InstanceNorm, nn.LocalResponseNorm)
"""Normalisations by the input's own statistics, which no positive linear network can stand in for."""


def synflow(
    model: nn.Module,
    batches: Iterable[tuple[Tensor, Tensor]],
    target: Target,
    generator: torch.Generator,
    rounds: int = ROUNDS,
) -> dict[str, Tensor]:
    """The order in which `rounds` steps of an exponential schedule prune: step t keeps the fraction density^(t/rounds).

    Each step scores |w| dR/d|w| (eq. 4), R the sum of the outputs for an input of ones, in float64, and ranks only what
    is still kept. The order depends on the target. Scores are places in that order; survivors follow by their last
    score.
    """
    first = next(iter(batches), None)
    if first is None:
        raise UserError("synflow needs one batch, for the shape of an input")
    linearise(model)
    kept = torch.cat([mask.reshape(-1) for _, mask in prunable(model).values()])
    total = kept.numel()
    order: list[Tensor] = [(~kept).nonzero()[:, 0]]
    scores = torch.zeros(0)
    for step in range(1, rounds + 1):
        scores = torch.cat([score.reshape(-1) for score in flow_scores(model, first[0].shape[1:]).values()])
        keep = target.kept(total) if step == rounds else total - int(total - total * target.density ** (step / rounds))
        open_entries = kept.nonzero()[:, 0]
        excess = len(open_entries) - keep
        if excess > 0:
            pruned = open_entries[_weakest(scores[open_entries], excess)]
            order.append(pruned)
            kept[pruned] = False
            _install(model, kept)
    survivors = kept.nonzero()[:, 0]
    order.append(survivors[_weakest(scores[survivors], len(survivors))])
    places = torch.empty(total, dtype=torch.float64, device=kept.device)
    places[torch.cat(order)] = torch.arange(total, dtype=torch.float64, device=kept.device)
    return _split(model, places)


def linearise(model: nn.Module) -> None:
    """Make a model linear and positive, in place, in float64: |w|, no biases, no activations, own pooling.

    Batch normalisation becomes the factor |scale| / sqrt(variance + eps) of its running variance (1 if it has none).
    Raises `UserError` for layers that have no such counterpart.
    """
    model.double().eval()
    for name, module in model.named_modules():
        if isinstance(module, _NOT_LINEAR):
            raise UserError(f"synflow cannot make {type(module).__name__} ({name}) linear; use another criterion")
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.forward = partial(_scale_channels, module)
        elif isinstance(module, _SKIPPED):
            module.forward = _unchanged
    for name, parameter in model.named_parameters():
        if name.rpartition(".")[2] == "bias":
            parameter.data.zero_()
        else:
            parameter.data.abs_()


def flow_scores(model: nn.Module, input_shape: Iterable[int]) -> dict[str, Tensor]:
    """|w| dR/d|w| of a linearised model for each prunable entry; pruned ones have 0."""
    weights = {name: weight for name, (weight, _) in prunable(model).items()}
    device = next(iter(weights.values())).device
    with _Linear():
        flow = model(torch.ones(1, *input_shape, dtype=torch.float64, device=device)).sum()
    gradients = torch.autograd.grad(flow, list(weights.values()), allow_unused=True)
    scores = {
        name: weight.detach() * (torch.zeros_like(weight) if gradient is None else gradient)
        for (name, weight), gradient in zip(weights.items(), gradients, strict=True)
    }
    if not all(bool(torch.isfinite(score).all()) for score in scores.values()):
        raise UserError("synflow's sums over paths are beyond double precision in this network; use another criterion")
    return scores


class _Linear(TorchFunctionMode):
    """Activations that are called as functions give back their input, and products of activations are gates.

    With a gate of value 1, flow does not grow with its square at each of them. It splits into two halves there, one
    through the gate and one through what is gated, so that layers before and after have the same sum.
    """

    def __torch_function__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        name = getattr(func, "__name__", None)
        if name in _SKIPPED_FUNCTIONS:
            return args[0]
        if name in _PRODUCTS and all(isinstance(factor, Tensor) and _is_activation(factor) for factor in args[:2]):
            gate, gated = sorted(args[:2], key=Tensor.numel)
            with torch._C.DisableTorchFunction():
                return _gated(gate, gated)
        return func(*args, **(kwargs or {}))


def _gated(gate: Tensor, gated: Tensor) -> Tensor:
    is_open = gate.detach() > 0  # where nothing flows, all goes through what is gated
    unit = torch.where(is_open, gate / gate.detach().clamp_min(_TINY), 1.0)
    return torch.where(is_open, _halved(gated) * _halved(unit), gated)


def _halved(flow: Tensor) -> Tensor:
    """The same value, with half of the derivative."""
    return (flow + flow.detach()) / 2


def _is_activation(tensor: Tensor) -> bool:
    with torch._C.DisableTorchFunction():
        return tensor.requires_grad and not tensor.is_leaf


def _weakest(scores: Tensor, count: int) -> Tensor:
    """Indices of the `count` lowest scores, lowest first; of equal ones the later is weaker."""
    if count == 0:
        return torch.zeros(0, dtype=torch.long, device=scores.device)
    # Sorting only what goes: over all steps that is each entry once, where full sorts would be a hundred.
    low = (scores <= scores.kthvalue(count).values).nonzero()[:, 0]
    order = descending_order(scores[low])
    return low[order[len(low) - count :]].flip(0)


def _install(model: nn.Module, kept: Tensor) -> None:
    masks = {name: mask for name, (_, mask) in prunable(model).items()}
    for name, part in _split(model, kept).items():
        masks[name].copy_(part)


def _split(model: nn.Module, flat: Tensor) -> dict[str, Tensor]:
    weights = {name: weight for name, (weight, _) in prunable(model).items()}
    parts = flat.split([weight.numel() for weight in weights.values()])
    return {name: part.reshape(weight.shape) for (name, weight), part in zip(weights.items(), parts, strict=True)}


def _scale_channels(norm: nn.modules.batchnorm._BatchNorm, input: Tensor) -> Tensor:
    scale = norm.masked("weight") if isinstance(norm, Masked) else norm.weight
    variance = norm.running_var
    factor = torch.ones((), dtype=input.dtype, device=input.device) if scale is None else scale.abs()
    factor = factor / torch.sqrt((1.0 if variance is None else variance) + torch.full_like(factor, norm.eps))
    with torch._C.DisableTorchFunction():  # a scale is a weight, not a gate
        return input * factor.reshape(-1, *[1] * (input.dim() - 2))


def _unchanged(input: Tensor) -> Tensor:
    return input
