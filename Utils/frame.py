"""In which shape does a network want its images, and what does a source of images give?"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from Utils.errors import UserError

Examples = tuple[Tensor, Tensor]
"""uint8 images (n, channels, height, width) and int64 labels (n,)."""

_CHUNK = 4096


@dataclass(frozen=True)
class Frame:
    """The shape that images are wanted in."""

    native: tuple[int, int, int]
    """Channels, height and width for images that have no size of their own."""
    size: tuple[int, int] | None = None
    """Height and width for all images; None: those that they have."""
    channels: int | None = None
    """What the network insists on; grey images are repeated. None: it takes any."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height and width for images that have no size of their own."""
        return (self.native[0], *(self.size or self.native[1:]))

    def fit(self, images: Tensor) -> Tensor:
        """Bring uint8 images to the size and the channels that are wanted; raises `UserError` if they have too many."""
        if self.size is not None and tuple(images.shape[2:]) != self.size:
            images = torch.cat([_resize(part, self.size) for part in images.split(_CHUNK)])
        if self.channels not in (None, images.shape[1]):
            if images.shape[1] != 1:
                raise UserError(f"the network takes {self.channels} channels, the images have {images.shape[1]}")
            images = images.expand(-1, self.channels or 1, -1, -1)
        return images


class Images(NamedTuple):
    """Both sets of a source, and the statistics that normalise them."""

    train: Examples
    test: Examples
    classes: int
    mean: tuple[float, ...]
    std: tuple[float, ...]


def _resize(images: Tensor, size: tuple[int, int]) -> Tensor:
    resized = F.interpolate(images.float(), size=size, mode="bilinear", align_corners=False, antialias=True)
    return resized.round_().clamp_(0, 255).to(torch.uint8)
