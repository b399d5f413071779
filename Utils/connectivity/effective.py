"""Which kept weights lie on a path from an input to an output?

Thresholding commutes with max and min, so one forward and one backward pass of ranks through the network tell, for
every threshold at once, which weights are effective. A mask is the case of two ranks.
"""

from collections.abc import Collection, Mapping

import torch
from torch import Tensor, nn

from Layers import prunable
from Utils.config.choices import EFFECTIVE_TYPES
from Utils.connectivity.interpreter import Propagation, propagate
from Utils.errors import UserError
from Utils.topk import descending_order


def ranking(model: nn.Module, scores: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The pruning order: int32 ranks of the scores' shapes, all different, the highest is kept longest.

    Ties go to the entry that comes first in the order of `prunable`, then by flat index. What the model's masks have
    pruned already gets 0; the other ranks are N, N - 1, ... in the order of falling score.
    Raises `ValueError` for scores that do not fit the model or are not finite.
    """
    parameters = prunable(model)
    check_scores(parameters, scores)
    flat = torch.cat([scores[name].detach().reshape(-1) for name in parameters])
    count = flat.numel()
    order = descending_order(flat)
    ranks = torch.empty(count, dtype=torch.int32, device=flat.device)
    ranks[order] = torch.arange(count, 0, -1, dtype=torch.int32, device=flat.device)
    sizes = [weight.numel() for weight, _ in parameters.values()]
    return {
        name: part.reshape(mask.shape).masked_fill(~mask, 0)
        for (name, (_, mask)), part in zip(parameters.items(), ranks.split(sizes), strict=True)
    }


def check_scores(
    parameters: Mapping[str, tuple[Tensor, Tensor]], scores: Mapping[str, Tensor], is_finite: bool = True
) -> None:
    """Raise `ValueError` unless there is one score, by default a finite one, for each entry of each parameter."""
    if scores.keys() != parameters.keys():
        wrong = sorted(scores.keys() ^ parameters.keys())
        raise ValueError(f"scores and prunable parameters differ in {', '.join(wrong)}")
    if not parameters:
        raise ValueError("the model has no prunable parameters")
    for name, (weight, _) in parameters.items():
        if scores[name].shape != weight.shape:
            raise ValueError(f"scores of {name!r} have shape {tuple(scores[name].shape)}, not {tuple(weight.shape)}")
        if is_finite and not bool(torch.isfinite(scores[name]).all()):
            raise ValueError(f"scores of {name!r} are not finite")


def propagate_ranks(
    model: nn.Module, ranks: Mapping[str, Tensor], input_shape: tuple[int, ...], effective_type: str = "exact"
) -> Propagation:
    """Both passes for given ranks; raises `UserError` for an unknown effective type or a model it cannot follow."""
    if effective_type not in EFFECTIVE_TYPES:
        raise UserError(f"unknown effective type {effective_type!r} (valid: {', '.join(EFFECTIVE_TYPES)})")
    return propagate(model, ranks, input_shape, per_channel=effective_type == "graph")


def propagate_masks(
    model: nn.Module,
    input_shape: tuple[int, ...],
    masks: Mapping[str, Tensor] | None = None,
    effective_type: str = "exact",
) -> Propagation:
    """Both passes for masks, by default the model's own; an entry is effective where `Flow.effective` is not 0."""
    kept = masks_or_own(model, masks)
    return propagate_ranks(
        model, {name: mask.to(torch.int32) for name, mask in kept.items()}, input_shape, effective_type
    )


def masks_or_own(model: nn.Module, masks: Mapping[str, Tensor] | None = None) -> dict[str, Tensor]:
    """The given masks, on the model's device, or else the model's own; raises `ValueError` if they do not fit it."""
    own = {name: mask for name, (_, mask) in prunable(model).items()}
    if masks is None:
        return own
    if masks.keys() != own.keys():
        raise ValueError(f"masks and prunable parameters differ in {', '.join(sorted(masks.keys() ^ own.keys()))}")
    for name, mask in own.items():
        if masks[name].dtype != torch.bool or masks[name].shape != mask.shape:
            found = f"{masks[name].dtype} of shape {tuple(masks[name].shape)}"
            raise ValueError(f"mask {name!r} must be bool of shape {tuple(mask.shape)}, not {found}")
    return {name: masks[name].to(mask.device) for name, mask in own.items()}


def effective_masks(
    model: nn.Module,
    input_shape: tuple[int, ...],
    masks: Mapping[str, Tensor] | None = None,
    effective_type: str = "exact",
) -> dict[str, Tensor]:
    """Bool tensors, `True` where a kept weight lies on a path of kept weights from an input to an output.

    `input_shape` is without the batch, as (channels, height, width). `effective_type="exact"` decides per channel and
    position, `"graph"` per channel only, which never finds fewer. (Vysogorets & Kempe 2023, "Connectivity Matters".)
    """
    found = propagate_masks(model, input_shape, masks, effective_type).effective
    return {name: ranks > 0 for name, ranks in found.items()}


def effective_scores(
    model: nn.Module, scores: Mapping[str, Tensor], input_shape: tuple[int, ...], effective_type: str = "exact"
) -> dict[str, Tensor]:
    """Effective ranks e_w, int32: pruned to the ranks of at least t, a weight is effective if and only if e_w >= t.

    Ranks are those of `ranking`: keeping the K best of N weights is the threshold t = N - K + 1.
    """
    return propagate_ranks(model, ranking(model, scores), input_shape, effective_type).effective


def compression_curve(
    model: nn.Module, scores: Mapping[str, Tensor], input_shape: tuple[int, ...], effective_type: str = "exact"
) -> Tensor:
    """int64 of N + 1 entries: the number of effective weights when the K best of N are kept, for K = 0 ... N.

    Where masks have pruned some already, K counts the places in the whole order, in which these come last.
    """
    effective = effective_scores(model, scores, input_shape, effective_type)
    return counts_by_kept(effective)


def counts_by_kept(effective: Mapping[str, Tensor]) -> Tensor:
    """From effective ranks to the number of effective weights for each number of weights kept."""
    flat = torch.cat([ranks.reshape(-1) for ranks in effective.values()])
    histogram = torch.bincount(flat, minlength=flat.numel() + 1)
    # Keeping K weights is the threshold N - K + 1, so the counts add up from the highest rank down.
    counts = histogram.flip(0).cumsum(0)
    return torch.cat([counts.new_zeros(1), counts[:-1]])


def empty_layers(effective: Mapping[str, Tensor]) -> list[str]:
    """Names of the parameters without an effective entry."""
    return [name for name, mask in effective.items() if not bool(mask.any())]


def dead_units(effective: Mapping[str, Tensor], output_layers: Collection[str]) -> dict[str, int]:
    """For each layer with hidden units (dense) or channels (convolution), how many have no effective weight in.

    Such a unit has none out either: nothing flows through it.
    """
    return {
        name: int((~mask.flatten(1).any(1)).sum())
        for name, mask in effective.items()
        if mask.dim() > 1 and name.rpartition(".")[0] not in output_layers
    }
