"""Batch normalisation of several processes, in training with the statistics of the whole batch.

On GPUs it is `nn.SyncBatchNorm`. On CPUs, which that does not support, the same formulas are computed here.
"""

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from Layers.masked import Masked
from Utils.distributed.process_group import total

BatchNorm = nn.modules.batchnorm._BatchNorm


class SynchronisedNorm:
    """Forward pass of a batch normalisation, masked or not, for one process of several."""

    def __init__(self, module: BatchNorm) -> None:
        self.module, self.forward = module, module.forward
        self.layer = nn.SyncBatchNorm(
            module.num_features, module.eps, module.momentum, module.affine, module.track_running_stats, device="meta"
        )
        """Has no values of its own: each pass lends it those of the module."""

    def __call__(self, x: Tensor) -> Tensor:
        """Output of the layer; in training, the running statistics are updated."""
        module = self.module
        if not module.training:
            return self.forward(x)
        values = module.masked if isinstance(module, Masked) else partial(getattr, module)
        scale, shift = values("weight"), values("bias")
        if not x.is_cuda:
            return _normalise(module, scale, shift, x)
        buffers = {name: getattr(module, name) for name, _ in self.layer.named_buffers()}
        parameters = {"weight": scale, "bias": shift} if module.affine else {}
        return functional_call(self.layer, parameters | buffers, (x,))


def _normalise(module: BatchNorm, scale: Tensor | None, shift: Tensor | None, x: Tensor) -> Tensor:
    """The formulas of `nn.SyncBatchNorm`."""
    axes = [axis for axis in range(x.dim()) if axis != 1]
    shape = [1, -1, *[1] * (x.dim() - 2)]
    single = x.to(torch.promote_types(x.dtype, torch.float32))
    count = total(torch.tensor(float(x.numel() // x.shape[1]), device=x.device))
    mean = _Sum.apply(single.sum(axes)) / count
    centred = single - mean.reshape(shape)
    variance = _Sum.apply(centred.square().sum(axes)) / count
    _update_running_statistics(module, mean.detach(), variance.detach() * count / (count - 1))
    normalised = centred * (variance + module.eps).rsqrt().reshape(shape)
    if scale is not None:
        normalised = normalised * scale.reshape(shape)
    return (normalised if shift is None else normalised + shift.reshape(shape)).to(x.dtype)


@torch.no_grad()
def _update_running_statistics(module: BatchNorm, mean: Tensor, variance: Tensor) -> None:
    if module.running_mean is None or module.running_var is None or module.num_batches_tracked is None:
        return
    module.num_batches_tracked.add_(1)
    momentum = 1 / float(module.num_batches_tracked) if module.momentum is None else module.momentum
    module.running_mean.lerp_(mean, momentum)
    module.running_var.lerp_(variance, momentum)


class _Sum(torch.autograd.Function):
    """Sum over all processes; each process holds a part of the loss, so the gradient is the sum as well."""

    @staticmethod
    def forward(ctx: Any, tensor: Tensor) -> Tensor:
        return total(tensor)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return total(gradients[0])
