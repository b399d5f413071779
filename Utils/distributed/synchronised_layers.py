"""Synchronised layers: layers in several processes, each with a part of a batch, compute the result of the whole batch.

Batch normalisation uses the statistics of the whole batch. Dropout and stochastic depth draw for the whole batch, from
generators in the same state in all processes, and each process uses its own part.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor, nn

from Utils.distributed.batch_norm import SynchronisedNorm
from Utils.distributed.process_group import Share, share


class SynchronisedLayers:
    """Replaces the forward functions of these layers in training, for one part of a batch at a time."""

    def __init__(self, model: nn.Module, batch_size: int, parts: int = 1) -> None:
        self.local_ranges = share().positions(batch_size, parts)
        self.whole_ranges = Share().positions(batch_size, parts)
        self.part = 0
        # Created once: new functions in every step would trigger a new compilation of the network.
        self.forwards: dict[nn.Module, Callable[[Tensor], Tensor]] = {}
        if share().of > 1:
            self._create_forwards(model)

    def _create_forwards(self, model: nn.Module) -> None:
        from torchvision.ops import StochasticDepth

        dropout_types = nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, StochasticDepth
        for module in model.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                self.forwards[module] = SynchronisedNorm(module)
            elif isinstance(module, dropout_types):
                self.forwards[module] = partial(self._drop, module, module.forward)

    @contextmanager
    def passing(self, part: int = 0) -> Iterator[None]:
        """Context of the forward pass of a part; all processes must enter it."""
        self.part = part
        for module, forward in self.forwards.items():
            module.forward = forward  # type: ignore[method-assign]
        try:
            yield
        finally:
            for module in self.forwards:
                del module.forward

    def _drop(self, module: nn.Module, forward: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
        """Apply the layer as a product of `x` and its part of the layer's output for ones of the whole batch's size."""
        local, whole = self.local_ranges[self.part], self.whole_ranges[self.part]
        rows_per_image, remainder = divmod(x.shape[0], len(local))
        if not module.training or remainder:
            return forward(x)
        ones = x.new_ones((len(whole) * rows_per_image, *x.shape[1:]))
        if x.dim() == 4 and x.is_contiguous(memory_format=torch.channels_last):
            ones = ones.contiguous(memory_format=torch.channels_last)  # random numbers are drawn in memory order
        start = (local.start - whole.start) * rows_per_image
        return x * forward(ones)[start : start + x.shape[0]]
