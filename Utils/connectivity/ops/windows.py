"""Windows: the input positions under each window of a convolution or a pooling.

Each axis has its own tensor of input indices, (windows, taps), with -1 where a tap lies outside the input.
"""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def conv_windows(conv: nn.Conv2d, size: Sequence[int]) -> list[Tensor]:
    """Rows and columns under each tap of a convolution's kernel; padding by copies has the indices of the originals."""
    left, right, top, bottom = conv._reversed_padding_repeated_twice
    windows = []
    for axis, (before, after) in enumerate(((top, bottom), (left, right))):
        reach = conv.dilation[axis] * (conv.kernel_size[axis] - 1) + 1
        count = (size[axis] + before + after - reach) // conv.stride[axis] + 1
        shape = (conv.kernel_size[axis], conv.stride[axis], before, conv.dilation[axis])
        windows.append(_windows(size[axis], count, *shape, conv.padding_mode))
    return windows


def pool_windows(
    size: Sequence[int],
    kernel: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    ceil_mode: bool,
) -> list[Tensor]:
    """Rows and columns under each window of a pooling with a fixed window size."""
    windows = []
    for axis in range(2):
        length, reach = size[axis], dilation[axis] * (kernel[axis] - 1) + 1
        steps = (length + 2 * padding[axis] - reach) / stride[axis]
        count = (math.ceil(steps) if ceil_mode else math.floor(steps)) + 1
        if ceil_mode and (count - 1) * stride[axis] >= length + padding[axis]:
            count -= 1
        windows.append(_windows(length, count, kernel[axis], stride[axis], padding[axis], dilation[axis], "zeros"))
    return windows


def adaptive_windows(size: Sequence[int], counts: Sequence[int | None]) -> list[Tensor]:
    """Rows and columns under each window of a pooling to a fixed number of windows; windows may overlap."""
    windows = []
    for length, count in zip(size, counts, strict=True):
        count = count or length
        starts = torch.arange(count) * length // count
        ends = -(-torch.arange(1, count + 1) * length // count)
        window = starts[:, None] + torch.arange(int((ends - starts).max()))
        windows.append(window.masked_fill(window >= ends[:, None], -1))
    return windows


def tap_positions(rows: Tensor, columns: Tensor, width: int) -> Tensor:
    """1 + the flat index of each tap of each window, (windows, taps), or 0 where a tap lies outside."""
    index = rows[:, None, :, None] * width + columns[None, :, None, :] + 1
    outside = (rows < 0)[:, None, :, None] | (columns < 0)[None, :, None, :]
    return index.masked_fill(outside, 0).reshape(len(rows) * len(columns), -1)


def gather(flat: Tensor, positions: Tensor) -> Tensor:
    """Read the entry under each tap: (channels, places) -> (channels, *positions.shape); 0 for position 0."""
    return F.pad(flat, (1, 0)).index_select(1, positions.reshape(-1)).reshape(-1, *positions.shape)


def scatter(ranks: Tensor, positions: Tensor, places: int) -> Tensor:
    """Reverse `gather`: (channels, *positions.shape) -> (channels, places), the maximum of all taps on a place."""
    channels = ranks.shape[0]
    index = positions.reshape(1, -1).expand(channels, -1)
    out = ranks.new_zeros(channels, places + 1)
    return out.scatter_reduce_(1, index, ranks.reshape(channels, -1), "amax")[:, 1:]


def _windows(size: int, count: int, kernel: int, stride: int, padding: int, dilation: int, mode: str) -> Tensor:
    """Input index under each tap of each window along one axis, (count, kernel); -1 where a tap lies outside."""
    index = torch.arange(count)[:, None] * stride - padding + torch.arange(kernel) * dilation
    if mode == "replicate":
        return index.clamp(0, size - 1)
    if mode == "circular":
        return index % size
    if mode == "reflect":
        return (size - 1) - ((size - 1) - index.abs()).abs()
    return index.masked_fill((index < 0) | (index >= size), -1)
