"""Masked layers, conversion of any network to masked layers, and mask sets as values."""

from Layers.conversion import add_masks, drop_masks, mask_model, unmask
from Layers.masked import (
    MaskedBatchNorm1d,
    MaskedBatchNorm2d,
    MaskedConv2d,
    MaskedIdentity,
    MaskedLinear,
    prunable,
    require_prunable,
    state_without_masks,
)
from Layers.masks import Masks

__all__ = [
    "MaskedBatchNorm1d",
    "MaskedBatchNorm2d",
    "MaskedConv2d",
    "MaskedIdentity",
    "MaskedLinear",
    "Masks",
    "add_masks",
    "drop_masks",
    "mask_model",
    "prunable",
    "require_prunable",
    "state_without_masks",
    "unmask",
]
