"""Effective sparsity: the kept weights on a path from an input to an output.

Thresholding commutes with max and min. One forward and one backward pass of ranks through the network therefore
determine the effective weights for every threshold at once. A mask is the special case of two ranks.
"""

from collections.abc import Collection, Mapping

import torch
from torch import Tensor, nn

from Layers import require_prunable
from Utils.config.choices import EFFECTIVE_TYPES
from Utils.connectivity.interpreter import Propagation, propagate
from Utils.errors import UserError
from Utils.topk import descending_order


def ranking(model: nn.Module, scores: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rank all N entries by score: int32 tensors with the shapes of the scores, from N (highest score) to 1 (lowest).

    Equal scores are ordered as in `prunable`, then by flat index; the earlier entry has the higher rank. Entries that
    the model's masks have already pruned take part in the ranking, and then get rank 0.
    Raises `ValueError` if scores do not fit the model or are not finite.
    """
    parameters = require_prunable(model)
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
    """Raise `ValueError` unless each entry of each parameter has one score, which must be finite by default."""
    if scores.keys() != parameters.keys():
        names = sorted(scores.keys() ^ parameters.keys())
        raise ValueError(f"scores and prunable parameters differ in {', '.join(names)}")
    for name, (weight, _) in parameters.items():
        if scores[name].shape != weight.shape:
            raise ValueError(f"scores of {name!r} have shape {tuple(scores[name].shape)}, not {tuple(weight.shape)}")
        if is_finite and not bool(torch.isfinite(scores[name]).all()):
            raise ValueError(f"scores of {name!r} are not finite")


def propagate_ranks(
    model: nn.Module, ranks: Mapping[str, Tensor], input_shape: tuple[int, ...], effective_type: str = "exact"
) -> Propagation:
    """Run both passes for given ranks.

    Raises `UserError` for an unknown effective type, a model that torch.fx cannot trace or an operation without a rule.
    """
    if effective_type not in EFFECTIVE_TYPES:
        raise UserError(f"unknown effective type {effective_type!r} (valid: {', '.join(EFFECTIVE_TYPES)})")
    return propagate(model, ranks, input_shape, per_channel=effective_type == "graph")


def propagate_masks(
    model: nn.Module,
    input_shape: tuple[int, ...],
    masks: Mapping[str, Tensor] | None = None,
    effective_type: str = "exact",
) -> Propagation:
    """Run both passes for masks, by default the model's own; an entry is effective if its effective rank is not 0."""
    ranks = {name: mask.to(torch.int32) for name, mask in masks_or_own(model, masks).items()}
    return propagate_ranks(model, ranks, input_shape, effective_type)


def masks_or_own(model: nn.Module, masks: Mapping[str, Tensor] | None = None) -> dict[str, Tensor]:
    """The given masks on the model's device, or the model's own; raises `ValueError` if masks do not fit the model."""
    model_masks = {name: mask for name, (_, mask) in require_prunable(model).items()}
    if masks is None:
        return model_masks
    if masks.keys() != model_masks.keys():
        names = sorted(masks.keys() ^ model_masks.keys())
        raise ValueError(f"masks and prunable parameters differ in {', '.join(names)}")
    for name, mask in model_masks.items():
        if masks[name].dtype != torch.bool or masks[name].shape != mask.shape:
            actual = f"{masks[name].dtype} of shape {tuple(masks[name].shape)}"
            raise ValueError(f"mask {name!r} must be bool of shape {tuple(mask.shape)}, not {actual}")
    return {name: masks[name].to(mask.device) for name, mask in model_masks.items()}


def effective_masks(
    model: nn.Module,
    input_shape: tuple[int, ...],
    masks: Mapping[str, Tensor] | None = None,
    effective_type: str = "exact",
) -> dict[str, Tensor]:
    """Bool tensors, `True` where a kept weight lies on a path of kept weights from an input to an output.

    `input_shape` excludes the batch axis, as in (channels, height, width). `effective_type="exact"` follows paths per
    channel and position. `"graph"` follows them per channel only, and never returns fewer effective weights.
    (Vysogorets & Kempe 2023, "Connectivity Matters".)
    """
    effective = propagate_masks(model, input_shape, masks, effective_type).effective
    return {name: ranks > 0 for name, ranks in effective.items()}


def effective_scores(
    model: nn.Module, scores: Mapping[str, Tensor], input_shape: tuple[int, ...], effective_type: str = "exact"
) -> dict[str, Tensor]:
    """Effective ranks e_w, int32: if ranks below t are pruned, a weight is effective if and only if e_w >= t.

    `ranking` defines the ranks: keeping the K best of N weights is the threshold t = N - K + 1.
    """
    return propagate_ranks(model, ranking(model, scores), input_shape, effective_type).effective


def compression_curve(
    model: nn.Module, scores: Mapping[str, Tensor], input_shape: tuple[int, ...], effective_type: str = "exact"
) -> Tensor:
    """int64 tensor (N + 1,): the number of effective weights if the K best of N weights are kept, for K = 0 ... N.

    K includes weights that the model's masks have already pruned; these are never effective.
    """
    effective = effective_scores(model, scores, input_shape, effective_type)
    return counts_by_kept(effective)


def counts_by_kept(effective: Mapping[str, Tensor]) -> Tensor:
    """Convert effective ranks of N weights to a compression curve: int64 (N + 1,), indexed by the number kept."""
    flat = torch.cat([ranks.reshape(-1) for ranks in effective.values()])
    histogram = torch.bincount(flat, minlength=flat.numel() + 1)
    # Keeping K weights is the threshold N - K + 1, so counts accumulate from the highest rank downwards.
    counts = histogram.flip(0).cumsum(0)
    return torch.cat([counts.new_zeros(1), counts[:-1]])


def empty_layers(effective: Mapping[str, Tensor]) -> list[str]:
    """Names of the parameters without an effective entry."""
    return [name for name, mask in effective.items() if not bool(mask.any())]


def dead_units(effective: Mapping[str, Tensor], output_layers: Collection[str]) -> dict[str, int]:
    """Number of hidden units (dense layer) or channels (convolution) without effective incoming weights, by parameter.

    Such a unit has no effective outgoing weight either: no path leads through it.
    """
    return {
        name: int((~mask.flatten(1).any(1)).sum())
        for name, mask in effective.items()
        if mask.dim() > 1 and name.rpartition(".")[0] not in output_layers
    }
