"""How do training images vary? Whole batches at a time, on their device."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

DEGREES = 4.0
SHIFT = 3
CROP_PADDING = 4

Draws = tuple[Tensor, ...]
"""Random numbers of a batch, each (batch,)."""


@dataclass(frozen=True)
class Augmentation:
    """What is drawn for each image, and what is done to images with it."""

    draw: Callable[[int, torch.Generator], Draws]
    """From a number of images and a CPU generator."""
    change: Callable[..., Tensor]
    """From normalised images (batch, channels, height, width) and what was drawn to images of the same shape."""

    def __call__(
        self, images: Tensor, generator: torch.Generator, of: int | None = None, places: Tensor | None = None
    ) -> Tensor:
        """Vary images; where they are those at some places in a batch of `of`, as they would vary in it."""
        drawn = self.draw(of or len(images), generator)
        if places is not None:
            drawn = tuple(values[places] for values in drawn)
        return self.change(images, *(values.to(images.device) for values in drawn))


def rotate(images: Tensor, degrees: Tensor) -> Tensor:
    """Turn each image counter-clockwise about its centre, bilinear, repeating the border. `degrees` is (batch,)."""
    angles = degrees * (math.pi / 180)
    cosine, sine = angles.cos(), angles.sin()
    height, width = images.shape[2:]
    # grid_sample measures both axes from -1 to 1, so in images that are not square an angle changes with the ratio.
    turn = torch.stack([cosine, -sine * height / width, sine * width / height, cosine], 1).reshape(-1, 2)
    across = torch.arange(1 - width, width, 2, device=images.device) / width
    down = torch.arange(1 - height, height, 2, device=images.device) / height
    centred = torch.stack([across.repeat(height), down.repeat_interleave(width)])
    # One product for the whole batch; affine_grid multiplies image by image and takes five times as long.
    grid = (turn @ centred).reshape(-1, 2, height, width).permute(0, 2, 3, 1)
    return F.grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=False)


def shift(images: Tensor, down: Tensor, right: Tensor) -> Tensor:
    """Move each image by whole pixels, (batch,) each, repeating the border."""
    height, width = images.shape[2:]
    rows = (torch.arange(height, device=images.device) - down[:, None]).clamp(0, height - 1)
    columns = (torch.arange(width, device=images.device) - right[:, None]).clamp(0, width - 1)
    return _take(images, rows, columns)


def crop(images: Tensor, top: Tensor, left: Tensor) -> Tensor:
    """Pad each image by 4 zeros on all sides and cut out its old size from row `top`, column `left`, (batch,) each."""
    height, width = images.shape[2:]
    padded = F.pad(images, (CROP_PADDING,) * 4)
    rows = torch.arange(height, device=images.device) + top[:, None]
    columns = torch.arange(width, device=images.device) + left[:, None]
    return _take(padded, rows, columns)


def mirror(images: Tensor, is_mirrored: Tensor) -> Tensor:
    """Flip those images left to right whose entry in `is_mirrored`, (batch,) bool, is set."""
    return torch.where(is_mirrored[:, None, None, None], images.flip(3), images)


def _take(images: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    index = torch.arange(len(images), device=images.device)
    taken = images.permute(0, 2, 3, 1)[index[:, None, None], rows[:, :, None], columns[:, None, :]]
    return taken.permute(0, 3, 1, 2).contiguous()


def _whole_numbers(low: int, high: int, count: int, generator: torch.Generator) -> Tensor:
    return torch.randint(low, high + 1, (count,), generator=generator)


def _coins(count: int, generator: torch.Generator) -> Tensor:
    return torch.rand(count, generator=generator) < 0.5


def _angles(count: int, generator: torch.Generator) -> Draws:
    return (torch.empty(count).uniform_(-DEGREES, DEGREES, generator=generator),)


def _shifts(count: int, generator: torch.Generator) -> Draws:
    down, right = (_whole_numbers(-SHIFT, SHIFT, count, generator) for _ in range(2))
    return down, right, _coins(count, generator)


def _places(count: int, generator: torch.Generator) -> Draws:
    top, left = (_whole_numbers(0, 2 * CROP_PADDING, count, generator) for _ in range(2))
    return top, left, _coins(count, generator)


AUGMENTATIONS: dict[str, Augmentation] = {
    "none": Augmentation(lambda count, generator: (), lambda images: images),
    "rotation": Augmentation(_angles, rotate),
    "shift-flip": Augmentation(_shifts, lambda images, down, right, coins: mirror(shift(images, down, right), coins)),
    "crop-flip": Augmentation(_places, lambda images, top, left, coins: mirror(crop(images, top, left), coins)),
}
"""Angles uniform in +-4 degrees; shifts by -3 ... 3 pixels along both axes; crops of images padded by 4."""
