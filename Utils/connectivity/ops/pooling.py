"""Pooling and reductions."""

from typing import ClassVar

from torch import Tensor

from Utils.connectivity.ops.call import Call, Pullback, pair
from Utils.connectivity.ops.op import Op
from Utils.connectivity.ops.windows import adaptive_windows, pool_windows, under_windows
from Utils.errors import UserError


class Reduction(Op):
    """A mean, sum or maximum along axes."""

    def flow(self, call: Call) -> tuple[Tensor, Pullback]:
        """Join all entries along the reduced axes."""
        (x,) = call.inputs
        axes = call.argument(1, "dim")
        axes = tuple(range(x.dim())) if axes is None else (axes,) if isinstance(axes, int) else tuple(axes)
        reduced = x.amax(axes, keepdim=True)
        out = reduced if call.argument(2, "keepdim", False) else x.amax(axes)
        return out, lambda back: [back.reshape(reduced.shape).expand(x.shape)]


class AveragePool(Op):
    """Average pooling with a fixed window."""

    ceil_position: ClassVar[int] = 4
    """Position of `ceil_mode` among the arguments of the function."""

    def flow(self, call: Call) -> tuple[Tensor, Pullback]:
        """Join each output position to all positions in its window."""
        (x,) = call.inputs
        kernel = pair(call.argument(1, "kernel_size"))
        stride = pair(call.argument(2, "stride") or kernel)
        padding = pair(call.argument(3, "padding", 0))
        ceil_mode = call.argument(self.ceil_position, "ceil_mode", False)
        size = (int(x.shape[2]), int(x.shape[3]))
        return _join_windows(x, pool_windows(size, kernel, stride, padding, self.dilation(call), bool(ceil_mode)))

    def dilation(self, call: Call) -> tuple[int, int]:
        """Distances between neighbouring rows and columns of a window."""
        return (1, 1)


class MaxPool(AveragePool):
    """Maximum pooling with a fixed window, which may be dilated."""

    ceil_position = 5

    def flow(self, call: Call) -> tuple[Tensor, Pullback]:
        """Join each output position to all positions in its window; raises `UserError` if indices are returned."""
        if call.argument(6, "return_indices", False) is True:
            raise UserError("no rule says how max pooling with return_indices connects units")
        return super().flow(call)

    def dilation(self, call: Call) -> tuple[int, int]:
        """The argument of the call."""
        return pair(call.argument(4, "dilation", 1))


class AdaptivePool(Op):
    """Pooling to a fixed output size, by windows that may overlap and differ in size."""

    def flow(self, call: Call) -> tuple[Tensor, Pullback]:
        """Join each output position to all positions in its window."""
        (x,) = call.inputs
        return _join_windows(x, adaptive_windows(x.shape[2:], pair(call.argument(1, "output_size"))))


def _join_windows(x: Tensor, positions: Tensor) -> tuple[Tensor, Pullback]:
    taps, to_input = under_windows(x, positions)
    out = taps.amax(1).reshape(1, -1, *positions.shape[1:])
    return out, lambda back: [to_input(back[0].flatten(1)[:, None].expand(taps.shape))]
