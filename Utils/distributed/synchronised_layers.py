"""How do layers of several processes, each with its part of a batch, do what one would do with all of it?

Batch normalisation has the statistics of the whole; what drops units at random draws for the whole, from generators
that are in the same state everywhere, and each process takes what is its own.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from Layers.masked import Masked
from Utils.distributed.process_group import Share, share, total


class SynchronisedLayers:
    """The forward passes of training, each of them of one part of a batch."""

    def __init__(self, model: nn.Module, batch_size: int, parts: int = 1) -> None:
        self.own = share().positions(batch_size, parts)
        self.whole = Share().positions(batch_size, parts)
        self.part = 0
        # Made once: functions that are new in every step would have the network compiled anew.
        self.forwards: dict[nn.Module, Callable[[Tensor], Tensor]] = {}
        if share().of > 1:
            self._take_over(model)

    def _take_over(self, model: nn.Module) -> None:
        from torchvision.ops import StochasticDepth

        drops = nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, StochasticDepth
        for module in model.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                self.forwards[module] = partial(_normalise, module, module.forward)
            elif isinstance(module, drops):
                self.forwards[module] = partial(self._drop, module, module.forward)

    @contextmanager
    def passing(self, part: int = 0) -> Iterator[None]:
        """Around the forward pass of a part, in all processes."""
        self.part = part
        for module, forward in self.forwards.items():
            module.forward = forward  # type: ignore[method-assign]
        try:
            yield
        finally:
            for module in self.forwards:
                del module.forward

    def _drop(self, module: nn.Module, alone: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
        """What the layer does to these images, by multiplying with what it does to as many ones as the whole has."""
        own, whole = self.own[self.part], self.whole[self.part]
        each, rest = divmod(x.shape[0], len(own))
        if not module.training or rest:
            return alone(x)
        ones = x.new_ones((len(whole) * each, *x.shape[1:]))
        if x.dim() == 4 and x.is_contiguous(memory_format=torch.channels_last):
            ones = ones.contiguous(memory_format=torch.channels_last)  # numbers are drawn in order of memory
        start = (own.start - whole.start) * each
        return x * alone(ones)[start : start + x.shape[0]]


def _normalise(module: nn.modules.batchnorm._BatchNorm, alone: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """What the layer does in training, with statistics of all processes. `nn.SyncBatchNorm` works on GPUs only."""
    if not module.training:
        return alone(x)
    axes = [axis for axis in range(x.dim()) if axis != 1]
    shape = [1, -1, *[1] * (x.dim() - 2)]
    single = x.to(torch.promote_types(x.dtype, torch.float32))
    count = total(torch.tensor(float(x.numel() // x.shape[1]), device=x.device))
    mean = _Sum.apply(single.sum(axes)) / count
    centred = single - mean.reshape(shape)
    variance = _Sum.apply(centred.square().sum(axes)) / count
    _follow(module, mean.detach(), variance.detach() * count / (count - 1))
    normalised = centred * (variance + module.eps).rsqrt().reshape(shape)
    scale, shift = (
        (module.masked("weight"), module.masked("bias")) if isinstance(module, Masked) else (module.weight, module.bias)
    )
    if scale is not None:
        normalised = normalised * scale.reshape(shape)
    return (normalised if shift is None else normalised + shift.reshape(shape)).to(x.dtype)


@torch.no_grad()
def _follow(module: nn.modules.batchnorm._BatchNorm, mean: Tensor, variance: Tensor) -> None:
    if module.running_mean is None or module.running_var is None or module.num_batches_tracked is None:
        return
    module.num_batches_tracked.add_(1)
    momentum = 1 / float(module.num_batches_tracked) if module.momentum is None else module.momentum
    module.running_mean.lerp_(mean, momentum)
    module.running_var.lerp_(variance, momentum)


class _Sum(torch.autograd.Function):
    """A sum over all processes, each of which has a part of the loss."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        return total(values)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return total(gradients[0])
