"""How is a product of matrices computed when (+, x) is replaced by (max, min)?"""

import torch
from torch import Tensor

INFINITE = torch.iinfo(torch.int32).max
"""The rank of what no threshold removes."""

_BLOCK = 1 << 18
"""Entries of a temporary block: 1 MiB of int32 stays in a core's cache. Measured best from 2^14 to 2^20."""

_THIN = 4
"""Up to this many rows, columns or inner entries a product is made as fast in one go as by matrices."""

_SHORT = 32
"""Below this inner length, sweeping over it beats reducing along it."""


def product(left: Tensor, right: Tensor) -> Tensor:
    """`out[g, i, j] = max over k of min(left[g, i, k], right[g, k, j])`.

    `left` is int32 (groups, rows, inner), `right` is (groups, inner, columns), all entries at least 0.
    """
    if min(*left.shape[1:], right.shape[2]) > _THIN and _is_mask(left) and _is_mask(right):
        return _of_masks(left, right)
    return _in_blocks(left, right)


def _is_mask(ranks: Tensor) -> bool:
    """Whether all are 0, 1 or what no threshold removes."""
    return not bool(((ranks > 1) & (ranks < INFINITE)).any())


def _of_masks(left: Tensor, right: Tensor) -> Tensor:
    """Is there a way at all, and is there one that no threshold removes? Both are questions to products of matrices.

    A sum of zeros and ones is 0 where all are, however it is rounded.
    """
    out = ((left > 0).float() @ (right > 0).float() > 0).int()
    lasting = left == INFINITE, right == INFINITE
    if all(bool(entries.any()) for entries in lasting):
        out.masked_fill_(lasting[0].float() @ lasting[1].float() > 0, INFINITE)
    return out


def _in_blocks(left: Tensor, right: Tensor) -> Tensor:
    groups, rows, inner = left.shape
    columns = right.shape[2]
    if groups > 1 and rows * inner * columns > _BLOCK:
        return torch.cat([_in_blocks(left[g : g + 1], right[g : g + 1]) for g in range(groups)])
    if inner < _SHORT:
        return _sweep(left, right)
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


def _sweep(left: Tensor, right: Tensor) -> Tensor:
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
