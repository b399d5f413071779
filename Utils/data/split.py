"""In-memory split: uint8 images and labels as tensors on one device."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

Batch = tuple[Tensor, Tensor]
"""Images (batch, channels, height, width) and labels (batch,)."""


@dataclass(frozen=True)
class Split:
    """Images (n, channels, height, width), uint8, and labels (n,), int64, on one device."""

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height, width."""
        channels, height, width = self.images.shape[1:]
        return channels, height, width

    def to(self, device: torch.device | str) -> "Split":
        """The split on another device."""
        return Split(self.images.to(device), self.labels.to(device))

    def take(self, indices: Tensor) -> "Split":
        """The images and labels at `indices`."""
        return Split(self.images[indices], self.labels[indices])

    def batches(self, picks: Sequence[Tensor | slice]) -> Iterator[Batch]:
        """Yield uint8 images and labels for each pick, which is a range or a tensor of indices on the CPU."""
        for pick in picks:
            if isinstance(pick, slice):
                yield self.images[pick], self.labels[pick]
            else:
                indices = pick.to(self.labels.device)
                yield self.images.index_select(0, indices), self.labels.index_select(0, indices)
