"""(max, min) matrix product: a matrix product with (max, min) in place of (+, x)."""

import torch
from torch import Tensor

INFINITE = torch.iinfo(torch.int32).max
"""Rank of entries that no threshold removes."""

_BLOCK = 1 << 18
"""Entries of a temporary block: 1 MiB of int32 fits into a core's cache. Measured as the fastest of 2^14 to 2^20."""

_THIN = 4
"""Up to this many rows, columns or inner entries, the (max, min) product is as fast as matrix products."""

_SHORT = 32
"""Below this inner length, a loop over the inner axis is faster than a reduction along it."""


def product(left: Tensor, right: Tensor) -> Tensor:
    """`out[g, i, j] = max over k of min(left[g, i, k], right[g, k, j])`.

    `left` is int32 (groups, rows, inner), `right` is (groups, inner, columns), all entries at least 0.
    """
    if min(*left.shape[1:], right.shape[2]) > _THIN and _is_mask(left) and _is_mask(right):
        return _mask_product(left, right)
    return _blocked_product(left, right)


def _is_mask(ranks: Tensor) -> bool:
    """Whether all ranks are 0, 1 or infinite."""
    return not bool(((ranks > 1) & (ranks < INFINITE)).any())


def _mask_product(left: Tensor, right: Tensor) -> Tensor:
    """Product of two masks: one matrix product detects paths, a second one detects paths of infinite rank.

    This is exact in float32: a sum of zeros and ones is 0 if and only if all terms are 0, whatever the rounding.
    """
    out = ((left > 0).float() @ (right > 0).float() > 0).int()
    infinite = left == INFINITE, right == INFINITE
    if all(bool(entries.any()) for entries in infinite):
        out.masked_fill_(infinite[0].float() @ infinite[1].float() > 0, INFINITE)
    return out


def _blocked_product(left: Tensor, right: Tensor) -> Tensor:
    groups, rows, inner = left.shape
    columns = right.shape[2]
    if groups > 1 and rows * inner * columns > _BLOCK:
        return torch.cat([_blocked_product(left[g : g + 1], right[g : g + 1]) for g in range(groups)])
    if inner < _SHORT:
        return _looped_product(left, right)
    right = right.transpose(1, 2).contiguous()
    column_step = max(1, min(columns, _BLOCK // inner))
    row_step = max(1, min(rows, _BLOCK // (inner * column_step)))
    group_step = max(1, _BLOCK // (inner * column_step * row_step))
    out = left.new_empty(groups, rows, columns)
    for g in range(0, groups, group_step):
        for i in range(0, rows, row_step):
            block = left[g : g + group_step, i : i + row_step, None]
            for j in range(0, columns, column_step):
                pairs = torch.minimum(block, right[g : g + group_step, None, j : j + column_step])
                out[g : g + group_step, i : i + row_step, j : j + column_step] = pairs.amax(-1)
    return out


def _looped_product(left: Tensor, right: Tensor) -> Tensor:
    groups, rows, inner = left.shape
    columns = right.shape[2]
    out = left.new_zeros(groups, rows, columns)
    step = max(1, _BLOCK // (groups * columns))
    for i in range(0, rows, step):
        block = out[:, i : i + step]
        for k in range(inner):
            pairs = torch.minimum(left[:, i : i + step, k, None], right[:, None, k])
            torch.maximum(block, pairs, out=block)
    return out
