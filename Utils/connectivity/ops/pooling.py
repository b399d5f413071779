"""Rules of pooling and reductions."""

import torch.nn.functional as F
from torch import Tensor, nn

from Utils.connectivity.ops.call import Call, Pullback, pair
from Utils.connectivity.ops.weight_layers import under_windows
from Utils.connectivity.ops.windows import adaptive_windows, pool_windows
from Utils.errors import UserError


def reduce(call: Call) -> tuple[Tensor, Pullback]:
    """A mean, sum or maximum joins all entries along the reduced axes."""
    (x,) = call.inputs
    axes = call.argument(1, "dim")
    axes = tuple(range(x.dim())) if axes is None else (axes,) if isinstance(axes, int) else tuple(axes)
    reduced = x.amax(axes, keepdim=True)
    out = reduced if call.argument(2, "keepdim", False) else x.amax(axes)
    return out, lambda back: [back.reshape(reduced.shape).expand(x.shape)]


def pool(call: Call) -> tuple[Tensor, Pullback]:
    """Pooling with a fixed window joins each output position to all positions in its window."""
    (x,) = call.inputs
    is_average = call.target is F.avg_pool2d or isinstance(call.module, nn.AvgPool2d)
    if call.argument(6, "return_indices", False) is True:
        raise UserError("no rule says how max pooling with return_indices connects units")
    kernel = pair(call.argument(1, "kernel_size"))
    stride = pair(call.argument(2, "stride") or kernel)
    padding = pair(call.argument(3, "padding", 0))
    dilation = (1, 1) if is_average else pair(call.argument(4, "dilation", 1))
    ceil_mode = call.argument(4 if is_average else 5, "ceil_mode", False)
    windows = pool_windows(x.shape[2:], kernel, stride, padding, dilation, bool(ceil_mode))
    return _join_windows(x, *windows)


def adaptive_pool(call: Call) -> tuple[Tensor, Pullback]:
    """Pooling to a fixed output size, as `pool`; windows may overlap and differ in size."""
    (x,) = call.inputs
    windows = adaptive_windows(x.shape[2:], pair(call.argument(1, "output_size")))
    return _join_windows(x, *windows)


def _join_windows(x: Tensor, rows: Tensor, columns: Tensor) -> tuple[Tensor, Pullback]:
    taps, to_input = under_windows(x, rows, columns)
    out = taps.amax(1).reshape(1, -1, len(rows), len(columns))
    return out, lambda back: [to_input(back[0].flatten(1)[:, None].expand(taps.shape))]
