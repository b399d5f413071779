"""Windows: the input positions under each tap of each window of a convolution or a pooling.

Positions are int64 (taps, rows, columns): 1 + the flat index of the input entry, or 0 where a tap lies outside.
"""

import math
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Pair = Sequence[int]
"""A value for rows and one for columns."""


def conv_windows(conv: nn.Conv2d, size: Pair) -> Tensor:
    """Positions under each tap of a convolution's kernel; padding by copies has the positions of the originals."""
    mode = "constant" if conv.padding_mode == "zeros" else conv.padding_mode
    padding = conv._reversed_padding_repeated_twice
    return _unfold(size, padding, mode, conv.kernel_size, conv.stride, conv.dilation)


def conv_output_size(conv: nn.Conv2d, size: Pair) -> tuple[int, int]:
    """Rows and columns of a convolution's output."""
    left, right, top, bottom = conv._reversed_padding_repeated_twice
    padded = size[0] + top + bottom, size[1] + left + right
    return _window_counts(padded, conv.kernel_size, conv.stride, conv.dilation)


def pool_windows(size: Pair, kernel: Pair, stride: Pair, padding: Pair, dilation: Pair, ceil_mode: bool) -> Tensor:
    """Positions in each window of a pooling with a fixed window size."""
    before_and_after = []
    for axis in (1, 0):  # as for `F.pad`: the last axis first
        length, reach = size[axis], dilation[axis] * (kernel[axis] - 1) + 1
        missing = 0
        if ceil_mode:
            last = math.ceil((length + 2 * padding[axis] - reach) / stride[axis]) * stride[axis]
            # A window that starts behind the input and its padding on the left is left out.
            last -= stride[axis] * (last >= length + padding[axis])
            missing = last + reach - length - 2 * padding[axis]
        before_and_after += [padding[axis], padding[axis] + missing]
    return _unfold(size, before_and_after, "constant", kernel, stride, dilation)


def adaptive_windows(size: Pair, counts: Sequence[int | None]) -> Tensor:
    """Positions in each window of a pooling to a fixed number of windows; windows may overlap."""
    rows, columns = (_adaptive_axis(length, count or length) for length, count in zip(size, counts, strict=True))
    rows, columns = rows[:, None, :, None], columns[None, :, None, :]
    positions = (rows * size[1] + columns + 1).masked_fill((rows < 0) | (columns < 0), 0)
    return positions.flatten(0, 1)


def under_windows(x: Tensor, positions: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
    """The entries under each tap of each window, (channels, taps, windows), and the pullback to the input."""
    index = positions.flatten(1).to(x.device)
    flat = x[0].flatten(1)
    taps = F.pad(flat, (1, 0)).index_select(1, index.reshape(-1)).reshape(-1, *index.shape)
    return taps, lambda ranks: _scatter(ranks, index, flat.shape[1]).reshape(x.shape)


def _scatter(ranks: Tensor, index: Tensor, places: int) -> Tensor:
    """Ranks (channels, taps, windows) to (channels, places): the maximum of all taps on a place."""
    channels = ranks.shape[0]
    out = ranks.new_zeros(channels, places + 1)
    return out.scatter_reduce_(1, index.reshape(1, -1).expand(channels, -1), ranks.reshape(channels, -1), "amax")[:, 1:]


def _unfold(size: Pair, padding: Pair, mode: str, kernel: Pair, stride: Pair, dilation: Pair) -> Tensor:
    """Positions under each tap of each window, found by moving the numbers of the positions as the layer moves pixels.

    `padding` is that of `F.pad`: before and after the columns, then before and after the rows.
    """
    # float64, because padding and unfolding do not support integers; it represents all integers up to 2^53.
    numbers = torch.arange(1, size[0] * size[1] + 1, dtype=torch.float64).reshape(1, 1, *size)
    padded = F.pad(numbers, list(padding), mode)
    taps = F.unfold(padded, tuple(kernel), tuple(dilation), stride=tuple(stride))[0].long()
    return taps.unflatten(1, _window_counts(padded.shape[2:], kernel, stride, dilation))


def _window_counts(padded: Pair, kernel: Pair, stride: Pair, dilation: Pair) -> tuple[int, int]:
    rows, columns = ((padded[axis] - dilation[axis] * (kernel[axis] - 1) - 1) // stride[axis] + 1 for axis in range(2))
    return rows, columns


def _adaptive_axis(length: int, count: int) -> Tensor:
    """Indices in each window along one axis, (taps, windows), or -1 beyond the window's end."""
    starts = torch.arange(count) * length // count
    ends = -(-torch.arange(1, count + 1) * length // count)
    window = starts + torch.arange(int((ends - starts).max()))[:, None]
    return window.masked_fill(window >= ends, -1)
