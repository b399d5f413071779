"""Image spec: the image shape that a network expects, and the arrays that a data source returns."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from Utils.errors import UserError
from Utils.machine import total_memory

if TYPE_CHECKING:
    from Utils.data.streaming import Files

Examples = tuple[Tensor, Tensor]
"""uint8 images (n, channels, height, width) and int64 labels (n,)."""

_CHUNK_BYTES = 1 << 26
"""Upper limit of the float32 copy of a chunk of images."""

_MEMORY_SHARE = 0.6
"""Largest fraction of the machine's memory that images may take."""


@dataclass(frozen=True)
class ImageSpec:
    """The image shape that a network expects."""

    native: tuple[int, int, int]
    """Channels, height and width of the network's own input, for images without a native size."""
    size: tuple[int, int] | None = None
    """Height and width of all images; None: the images keep their own size."""
    channels: int | None = None
    """Number of channels that the network requires; grey images are repeated. None: any number."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height and width for images without a native size."""
        return (self.native[0], *(self.size or self.native[1:]))

    def fit(self, images: Tensor) -> Tensor:
        """Resize uint8 images and repeat grey channels; raises `UserError` if channels or memory do not fit."""
        if self.size is not None and tuple(images.shape[2:]) != self.size:
            check_memory(len(images), images.shape[1], self.size)
            images = in_chunks(_resize, images, self.size)
        if self.channels not in (None, images.shape[1]):
            if images.shape[1] != 1:
                raise UserError(f"the network takes {self.channels} channels, the images have {images.shape[1]}")
            images = images.expand(-1, self.channels or 1, -1, -1)
        return images


class ImageArrays(NamedTuple):
    """Both sets of a data source, in memory, and the channel statistics that normalise them."""

    train: Examples
    test: Examples
    classes: int
    mean: tuple[float, ...]
    std: tuple[float, ...]


class ImageStreams(NamedTuple):
    """Both sets of a data source that stays on disk, and the channel statistics that normalise them."""

    train: "Files"
    test: "Files"
    classes: int
    mean: tuple[float, ...]
    std: tuple[float, ...]


def check_examples(source: str, content: ImageArrays) -> None:
    """Raise `UserError` unless all images have the same shape and every label is the number of a class."""
    shape = tuple(content.train[0].shape[1:])
    for role, (images, labels) in (("training", content.train), ("test", content.test)):
        if images.dtype != torch.uint8 or images.ndim != 4 or not len(images):
            form = f"{images.dtype} {tuple(images.shape)}"
            raise UserError(f"{source}: {role} images are {form}, not uint8 (n, channels, height, width)")
        if tuple(images.shape[1:]) != shape:
            raise UserError(f"{source}: test images are {tuple(images.shape[1:])}, training images are {shape}")
        if labels.dtype != torch.int64 or labels.shape != (len(images),):
            form = f"{labels.dtype} {tuple(labels.shape)}"
            raise UserError(f"{source}: {role} labels are {form}, not int64 for {len(images)} images")
        lowest, highest = int(labels.min()), int(labels.max())
        if lowest < 0 or highest >= content.classes:
            found = f"{role} labels are from {lowest} to {highest}"
            raise UserError(f"{source}: {found}, not from 0 to {content.classes - 1}; correct or replace the file")


def check_memory(count: int, channels: int, size: tuple[int, int]) -> None:
    """Raise `UserError` if `count` uint8 images would take more than 60% of this machine's memory."""
    needed, memory = count * channels * size[0] * size[1], total_memory()
    if needed > _MEMORY_SHARE * memory:
        raise UserError(
            f"{count} images of {size[0]} x {size[1]} take {needed / 2**30:.3g} GiB, this machine has "
            f"{memory / 2**30:.3g}; give a smaller --image_size"
        )


def in_chunks(resize: Callable[[Tensor, tuple[int, int]], Tensor], images: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize a few images at a time, which keeps their float copies small."""
    channels, height, width = images.shape[1:]
    largest = channels * max(height * width, size[0] * size[1])
    return torch.cat([resize(part, size) for part in images.split(max(1, _CHUNK_BYTES // (4 * largest)))])


def _resize(images: Tensor, size: tuple[int, int]) -> Tensor:
    resized = F.interpolate(images.float(), size=size, mode="bilinear", align_corners=False, antialias=True)
    return resized.round_().clamp_(0, 255).to(torch.uint8)
